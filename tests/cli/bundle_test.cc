#include "cli/bundle.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "tests/scratch.h"

namespace rung {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A state directory with all that it may hold.
struct Place {
  Scratch parent;
  StateDir dir{parent.path("state")};

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string Bundle() const {
    const std::vector<Finding> findings = {{"disk", Verdict::kWarn, "little space", "Free some"}};
    return BundleJson(dir, findings, absl::FromUnixSeconds(1)).dump();
  }
};

TEST_CASE("a bundle has what helps and no secret") {
  const Place place;
  const std::string token(64, 'a');
  const std::string key = "sk-\"planted\"-5f3759df";
  const OrderedJson study = {{"name", "gnad10"},
                             {"trainer",
                              {{"type", "command"},
                               {"pass_env", {"RUNG_TEST_PASSED", "RUNG_TEST_UNSET"}},
                               {"env", {{"API_KEY", key}, {"OMP_NUM_THREADS", "2"}}}}}};
  const StateDir& dir = place.dir;
  place.Write(dir.token("admin"), token + "\n");
  place.Write(dir.token("viewer"), std::string(64, 'b') + "\n");
  place.Write(dir.tls() + "/ca.key", "-----BEGIN PRIVATE KEY-----");
  place.Write(dir.tls() + "/server.pem", "-----BEGIN CERTIFICATE-----");
  place.Write(dir.nonce(), std::string(64, 'c') + "\n");
  place.Write(dir.database(), "a row of the database");
  place.Write(dir.study(1) + "/study.json", study.dump());
  place.Write(dir.study(1) + "/logs/1-0-0-1.log", "a row of the data");
  const OrderedJson known = {
      {"name", "gnad10"}, {"message", "paused: " + key + " is refused"}, {"canonical_json", study.dump()}};
  const OrderedJson status = {{"database_schema", 4}, {"studies", OrderedJson::array({known})}};
  place.Write(dir.status(), status.dump(2));
  const OrderedJson line = {{"event", "attempt_failed"},
                            {"message", "no entry with " + key + " or " + token}};
  place.Write(dir.logs() + "/rungd.log", line.dump() + "\n{\"event\":\"ended\"}\n");
  place.Write(dir.logs() + "/worker-here-0.out", "worker here-0: " + key + "\n");
  place.Write(dir.logs() + "/worker-here-1.out", "worker here-1: passed-on-value\n");
  std::filesystem::create_symlink(dir.database(), dir.logs() + "/worker-link.log");
  REQUIRE(setenv("RUNG_TEST_PASSWORD", "of-my-own-environment", 1) == 0);
  REQUIRE(setenv("RUNG_TEST_PASSED", "passed-on-value", 1) == 0);

  const std::string text = place.Bundle();
  unsetenv("RUNG_TEST_PASSWORD");
  unsetenv("RUNG_TEST_PASSED");
  for (const std::string& secret :
       {token, std::string(64, 'b'), std::string(64, 'c'), key, std::string("5f3759df"),
        std::string("-----BEGIN"), std::string("of-my-own-environment"), std::string("passed-on-value"),
        std::string("a row of")}) {
    INFO(secret);
    CHECK_FALSE(Has(text, secret));
  }
  const OrderedJson bundle = OrderedJson::parse(text);
  CHECK(bundle["schema"] == 1);
  CHECK(bundle["made_at"] == "1970-01-01T00:00:01.000Z");
  CHECK(Has(bundle["version"], "rung "));
  CHECK(bundle["findings"][0]["what"] == "little space");
  CHECK(bundle["state_directory"] == dir.root);
  CHECK(bundle["endpoint"].is_null());
  CHECK(bundle["status"]["database_schema"] == 4);
  CHECK(bundle["status"]["studies"][0]["message"] == std::string("paused: ") + kLeftOut + " is refused");
  CHECK(bundle["studies"]["1"]["name"] == "gnad10");
  CHECK(bundle["studies"]["1"]["trainer"]["env"]["API_KEY"] == kLeftOut);
  CHECK(bundle["studies"]["1"]["trainer"]["env"]["OMP_NUM_THREADS"] == "2");
  const OrderedJson& log = bundle["logs"]["rungd.log"];
  REQUIRE(log.size() == 2);
  CHECK(OrderedJson::parse(log[0].get<std::string>())["message"] ==
        std::string("no entry with ") + kLeftOut + " or " + kLeftOut);
  CHECK(log[1] == "{\"event\":\"ended\"}");
  CHECK(bundle["logs"]["worker-here-0.out"][0] == std::string("worker here-0: ") + kLeftOut);
  CHECK_FALSE(bundle["logs"].contains("worker-link.log"));
  const OrderedJson database = {{"path", "rung.db"}, {"files", 1}, {"size_bytes", 21}};
  const OrderedJson files = {{"path", "studies/1"},
                             {"files", 2},
                             {"size_bytes", study.dump().size() + std::string("a row of the data").size()}};
  const OrderedJson& sizes = bundle["sizes"];
  CHECK(std::count(sizes.begin(), sizes.end(), database) == 1);
  CHECK(std::count(sizes.begin(), sizes.end(), files) == 1);
}

TEST_CASE("of a long log a bundle has the end, in whole lines") {
  const Place place;
  std::string log;
  for (int i = 0; i < 20'000; ++i) log += "line " + std::to_string(i) + "\n";
  place.Write(place.dir.logs() + "/rungd.log", log);
  const OrderedJson bundle = OrderedJson::parse(place.Bundle());
  const OrderedJson& lines = bundle["logs"]["rungd.log"];
  REQUIRE(lines.size() > 1000);
  REQUIRE(lines.size() < 20'000);
  CHECK(lines.back() == "line 19999");
  CHECK(lines.front() == "line " + std::to_string(20'000 - lines.size()));
}

TEST_CASE("a bundle of no state directory, and of one that is damaged") {
  const OrderedJson none = BundleJson(std::nullopt, {}, absl::UnixEpoch());
  CHECK(none.contains("findings"));
  CHECK_FALSE(none.contains("state_directory"));
  const Place place;
  place.Write(place.dir.status(), "{\"studies\": [1, ");
  place.Write(place.dir.study(1) + "/study.json", "[]");
  place.Write(place.dir.study(2) + "/study.json", "{\"trainer\": 7}");
  const OrderedJson bundle = OrderedJson::parse(place.Bundle());
  CHECK(bundle["status"].is_null());
  CHECK(bundle["studies"]["1"].is_null());
  CHECK(bundle["studies"]["2"]["trainer"] == 7);
}

}  // namespace
}  // namespace rung
