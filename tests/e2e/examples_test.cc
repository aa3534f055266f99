// The studies of examples/command as a person runs them: planned as they are, and one run small.
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

// The example in a checkout of its own, with the data where its README puts them, and a small study beside.
nlohmann::json SmallExample(const std::string& root) {
  const std::string example = root + "/examples/command";
  std::filesystem::create_directories(root + "/examples");
  std::filesystem::copy(std::string(RUNG_SOURCE_DIR) + "/examples/command", example);
  nlohmann::json study = nlohmann::json::parse(ReadFile(example + "/study.json").value_or(""));
  study["budget"]["max"] = 3;
  study["stop"] = {{"trials", 3}};
  study["enqueue"] = nlohmann::json::array();
  std::ofstream(example + "/small.json") << study.dump();
  return study;
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
  const Finished run = RunProgram({kRung, "run", "small.json", "--workers", "1", "-o", "json"},
                                  site.root() + "/examples/command", kLong);
  INFO(run.err);
  REQUIRE(run.code == 0);
  const nlohmann::json outcome = nlohmann::json::parse(run.out);
  CHECK(outcome.at("state") == "done");
  CHECK(outcome.at("trials_by_state").value("failed", 0) == 0);
  CHECK(outcome.at("incumbent").at("score").get<double>() > 0);
}

}  // namespace
}  // namespace rung
