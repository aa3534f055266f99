// The studies of examples/command as a person runs them: planned as they are, and run small.
#include <filesystem>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

// A study of the example, small, written beside the other.
void WriteSmall(const std::string& example, const std::string& name, int trials) {
  nlohmann::json study = nlohmann::json::parse(ReadFile(example + "/" + name).value_or(""));
  study["budget"]["max"] = 3;
  study["stop"] = {{"trials", trials}};
  study["enqueue"] = nlohmann::json::array();
  std::ofstream(example + "/small-" + name) << study.dump();
}

// The example in a checkout of its own, with the data where its README puts them, and small studies beside.
nlohmann::json SmallExample(const std::string& root) {
  const std::string example = root + "/examples/command";
  std::filesystem::create_directories(root + "/examples");
  std::filesystem::copy(std::string(RUNG_SOURCE_DIR) + "/examples/command", example);
  WriteSmall(example, "study.json", 3);
  WriteSmall(example, "study-data.json", 5);
  return nullptr;
}

// Runs it to its end; what it printed.
nlohmann::json RunSmall(const Site& site, const std::string& name) {
  const Finished run = RunProgram({kRung, "run", "small-" + name, "--workers", "1", "-o", "json"},
                                  site.root() + "/examples/command", kLong);
  INFO(run.err);
  REQUIRE(run.code == 0);
  nlohmann::json outcome = nlohmann::json::parse(run.out);
  CHECK(outcome.at("state") == "done");
  CHECK(outcome.at("trials_by_state").value("failed", 0) == 0);
  CHECK(outcome.at("incumbent").at("score").get<double>() > 0);
  return outcome;
}

TEST_CASE("the example with a trainer in plain Python is planned and runs") {
  const Site site(SmallExample);
  const std::string data = site.root() + "/.cache/demo/command";
  REQUIRE(
      RunProgram({"/usr/bin/env", "python3", "-B", "examples/command/make_data.py", data}, site.root(), kLong)
          .code == 0);
  for (const std::string file : {"study.json", "study-data.json"}) {
    const Finished plan =
        RunProgram({kRung, "study", "plan", "examples/command/" + file, "-o", "json"}, site.root(), kLong);
    INFO(plan.err);
    REQUIRE(plan.code == 0);
    CHECK(nlohmann::json::parse(plan.out).at("warnings").empty());
  }
  RunSmall(site, "study.json");
  const std::string name = RunSmall(site, "study-data.json").at("name");
  const Finished list =
      RunProgram({kRung, "trial", "list", name, "-o", "json"}, site.root() + "/examples/command", kLong);
  INFO(list.err);
  REQUIRE(list.code == 0);
  std::set<std::string> used;
  const nlohmann::json listed = nlohmann::json::parse(list.out);
  for (const nlohmann::json& trial : listed.at("trials")) {
    used.insert(std::filesystem::path(trial.at("config").at("data").get<std::string>()).filename());
  }
  CHECK(used == std::set<std::string>{"kind.json", "package.json"});
}

}  // namespace
}  // namespace rung
