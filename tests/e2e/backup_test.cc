// Copies of the database with the real programs: made while a study runs, verified, restored.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

Finished Rung(const Site& site, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), kRung);
  arguments.insert(arguments.end(), {"-o", "json"});
  return RunProgram(arguments, site.root(), kLong);
}

std::string CodeOf(const Finished& finished) {
  const nlohmann::json error = nlohmann::json::parse(finished.err, nullptr, false);
  return error.is_object() && error.contains("error") ? error["error"].value("code", "") : finished.err;
}

TEST_CASE("a copy made while a study runs is whole, and restored the study goes on from there") {
  const Site site(0.05);
  const std::string copy = site.root() + "/copy.db";
  {
    const auto run = site.Run(1);
    REQUIRE(site.WaitForLine(kLong, [](const TraceLine& line) { return line.trial == 3; }).has_value());
    const nlohmann::json made = site.Ask({"backup", "create", "--to", "copy.db"});
    CHECK(made["path"] == copy);
    CHECK(made["studies"] == 1);
    CHECK(made["events"].get<int64_t>() > 4);
    CHECK(made["size_bytes"] == std::filesystem::file_size(copy));
    struct stat info {};
    REQUIRE(stat(copy.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    const Finished again = Rung(site, {"backup", "create", "--to", copy});
    CHECK(again.code == 5);
    CHECK(CodeOf(again) == "E0510");
    // Nobody restores under a coordinator that lives.
    const Finished held = Rung(site, {"backup", "restore", copy});
    CHECK(held.code == 75);
    CHECK(CodeOf(held) == "E0640");
    CHECK(run->Wait(kLong) == std::optional<int>(0));
  }
  const nlohmann::json results = site.Results();
  CHECK(results.size() == 9);
  CHECK(site.Ask({"backup", "verify", copy})["studies"] == 1);
  CHECK_THAT(RunProgram({kRung, "backup", "verify", copy}, site.root(), kLong).out,
             Catch::Contains("copy.db is whole: schema"));

  // Without a coordinator one is started for the copy; its name tells the time.
  const std::string second = site.Ask({"backup", "create"})["path"];
  CHECK(second.rfind(site.state_dir() + "/backups/rung-", 0) == 0);
  const nlohmann::json restored = site.Ask({"backup", "restore", copy});
  const std::string kept = restored["kept"];
  CHECK(kept.rfind(site.state_dir() + "/rung.db.replaced-", 0) == 0);
  CHECK(site.Ask({"backup", "verify", kept})["events"] == site.Ask({"backup", "verify", second})["events"]);
  CHECK(site.Ask({"study", "show"})["state"] == "running");
  CHECK(site.Run(1)->Wait(kLong) == std::optional<int>(0));
  INFO(site.Ask({"events"}).dump());
  CHECK(site.Results() == results);  // the same decisions once more
}

TEST_CASE("a damaged copy is neither verified nor restored, and no directory is made for it") {
  const Site site(0.001);
  REQUIRE(site.Run(1)->Wait(kLong) == std::optional<int>(0));
  const std::string copy = site.Ask({"backup", "create", "--to", "copy.db"})["path"];
  std::filesystem::resize_file(copy, std::filesystem::file_size(copy) / 2);
  for (const char* verb : {"verify", "restore"}) {
    const Finished refused = Rung(site, {"backup", verb, copy});
    CHECK(refused.code == 6);
    CHECK(CodeOf(refused) == "E0502");
  }
  CHECK(site.Results().size() == 9);
  CHECK(Rung(site, {"backup", "restore", copy, "--dir", site.root() + "/new"}).code == 6);
  CHECK_FALSE(std::filesystem::exists(site.root() + "/new"));
  const Finished none = Rung(site, {"backup", "verify", "none.db"});
  CHECK(none.code == 3);
  CHECK(CodeOf(none) == "E0508");
}

TEST_CASE(
    "a copy with a row that cannot be read is neither verified nor restored, though its pages are whole") {
  const Site site(0.001);
  REQUIRE(site.Run(1)->Wait(kLong) == std::optional<int>(0));
  const std::string copy = site.Ask({"backup", "create", "--to", "copy.db"})["path"];
  std::string bytes = *ReadFile(copy, int64_t{1} << 30);
  const std::string key = "\"as_of\"";  // in a trial's origin
  const size_t at = bytes.find(key);
  REQUIRE(at != std::string::npos);
  bytes.replace(at, key.size(), key.size(), '\xff');
  REQUIRE(WriteFileAtomic(copy, bytes).ok());
  for (const char* verb : {"verify", "restore"}) {
    const Finished refused = Rung(site, {"backup", verb, copy});
    CHECK(refused.code == 6);
    CHECK(CodeOf(refused) == "E0506");
  }
  CHECK(site.Results().size() == 9);
}

TEST_CASE("a directory whose database is lost is restored from its copy") {
  const Site site(0.001);
  REQUIRE(site.Run(1)->Wait(kLong) == std::optional<int>(0));
  const nlohmann::json results = site.Results();
  const std::string copy = site.Ask({"backup", "create"})["path"];
  const pid_t coordinator = nlohmann::json::parse(*ReadFile(site.state_dir() + "/endpoint.json"))["pid"];
  kill(coordinator, SIGKILL);
  REQUIRE(WaitFor(kLong, [&] { return !Lives(coordinator); }));
  std::filesystem::remove(site.state_dir() + "/rung.db");
  std::filesystem::remove(site.state_dir() + "/rung.db-wal");
  CHECK(CodeOf(Rung(site, {"study", "list"})) == "E0507");
  CHECK_FALSE(site.Ask({"backup", "restore", copy}).contains("kept"));
  CHECK(site.Results() == results);
}

}  // namespace
}  // namespace rung
