// What a person types while a study runs: logs, watch, export, doctor, through the real programs.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kLong = 240;  // far more than a slow machine needs

const std::string kRung = std::string(RUNG_BIN_DIR) + "/rung";

// A trainer that prints what would drive a terminal, then trains as trainer.py does.
nlohmann::json TalkingStudy(const std::string& root) {
  const std::string trainer = std::string(RUNG_SOURCE_DIR) + "/tests/e2e/trainer.py";
  std::ofstream(root + "/talk.py") << "import os, sys\n"
                                      "os.write(1, b'\\x1b[31mred \\xff \\xc2\\x9b caf\\xc3\\xa9\\n')\n"
                                      "os.execv(sys.executable, [sys.executable, '"
                                   << trainer << "'])\n";
  return {{"name", "talk"},
          {"trainer",
           {{"type", "command"},
            {"argv", {"python3", root + "/talk.py"}},
            {"env", {{"E2E_TRACE", root + "/trace"}, {"E2E_STEP_SECONDS", "0.1"}}}}},
          {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
          {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 3}, {"eta", 3}}},
          {"algorithm", {{"type", "hyperband"}}},
          {"space", {{"x", {{"low", 0.0}, {"high", 1.0}}}}},
          {"stop", {{"brackets", 1}}},
          {"seed", 7}};
}

std::unique_ptr<Process> Start(const Site& site, const std::vector<std::string>& arguments,
                               const std::string& output) {
  Process::Options options;
  options.argv = {kRung};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.directory = site.root();
  options.output_path = site.root() + "/" + output;
  return std::make_unique<Process>(options);
}

std::string Read(const Site& site, const std::string& name) {
  return ReadFile(site.root() + "/" + name).value_or("");
}

int64_t Lines(const std::string& path) {
  const std::string text = ReadFile(path).value_or("");
  return std::count(text.begin(), text.end(), '\n');
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("logs, watch and export of a study that runs") {
  const Site site(TalkingStudy);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] {
    const auto lines = site.Trace();
    return std::any_of(lines.begin(), lines.end(), [](const TraceLine& line) { return line.trial == 2; });
  }));
  const auto follow = Start(site, {"trial", "logs", "2", "-f"}, "followed");
  const auto watch = Start(site, {"study", "watch", "talk"}, "watched");
  const auto watch_json = Start(site, {"study", "watch", "talk", "-o", "json"}, "watched-json");

  // Half-finished: what is there so far, in whole files.
  for (const std::string format : {"csv", "jsonl"}) {
    const nlohmann::json files = site.Ask({"study", "export", "talk", "--format", format});
    const int64_t header = format == "csv" ? 1 : 0;
    CHECK(Lines(files.at("trials_path")) >= 2 + header);
    CHECK(Lines(files.at("results_path")) >= 1 + header);
  }

  REQUIRE(run->Wait(kLong) == std::optional<int>(0));
  CHECK(follow->Wait(kLong) == std::optional<int>(0));
  CHECK(watch->Wait(kLong) == std::optional<int>(0));
  CHECK(watch_json->Wait(kLong) == std::optional<int>(0));
  const std::string followed = Read(site, "followed");
  INFO(followed);
  CHECK(Has(followed, "trial 2, rung 0"));
  CHECK(Has(followed, "\\x1b[31mred \\xff \\u009b caf\xC3\xA9\n"));
  CHECK_FALSE(Has(followed, "\x1b"));
  CHECK(Has(Read(site, "watched"), "talk done"));
  const std::string json = Read(site, "watched-json");
  const size_t last = json.rfind('\n', json.size() - 2);
  CHECK(nlohmann::json::parse(json.substr(last == std::string::npos ? 0 : last + 1))["state"] == "done");

  // The finished study says how long a unit took, so that the plan knows what it would cost again.
  CHECK(site.Ask({"study", "plan", "study.json"})["device_seconds"].get<double>() > 0);
}

TEST_CASE("the learning curve of a trial is shown point by point") {
  const Site site(0.001);
  const auto run = site.Run(1);
  REQUIRE(run->Wait(kLong) == 0);
  const nlohmann::json points = site.Ask({"trial", "show", "1", "--curve"})["points"];
  REQUIRE(points.size() >= 4);  // as many steps as the lowest rung has
  for (size_t i = 0; i < 4; ++i) {
    CHECK(points[i]["rung"] == 0);
    CHECK(points[i]["kind"] == "train");
    CHECK(points[i]["step"] == i + 1);
    CHECK(points[i]["budget"] == static_cast<double>(i + 1) / 4);
    CHECK(points[i]["metric"] == "validation/accuracy");
    CHECK(points[i]["value"].is_number());
  }
  const nlohmann::json shown = site.Ask({"trial", "show", "1"});
  CHECK(shown["rungs"][0]["replicates"][0]["values"]["validation/accuracy"] == points[3]["value"]);
  CHECK(Has(RunProgram({kRung, "trial", "show", "1", "--curve"}, site.root(), kLong).out,
            "validation/accuracy"));
}

TEST_CASE("watching ends by Ctrl-C with 130 and leaves the study alone") {
  const Site site(TalkingStudy);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kLong, [&] { return !site.Trace().empty(); }));
  const auto watch = Start(site, {"study", "watch", "talk"}, "watched");
  REQUIRE(WaitFor(kLong, [&] { return Has(Read(site, "watched"), "talk running"); }));
  watch->Kill(SIGINT);
  CHECK(watch->Wait(kLong) == std::optional<int>(130));
  CHECK(Has(Read(site, "watched"), "the study goes on"));
  CHECK(run->Wait(kLong) == std::optional<int>(0));
}

TEST_CASE("the doctor names a file that others can read, and ends with 9") {
  const Site site(0.001);
  REQUIRE(RunProgram({kRung, "study", "create", "study.json"}, site.root(), kLong).code == 0);
  REQUIRE(chmod((site.state_dir() + "/tokens/viewer").c_str(), 0644) == 0);
  const Finished finished = RunProgram({kRung, "doctor", "-o", "json"}, site.root(), kLong);
  CHECK(finished.code == 9);
  const nlohmann::json found = nlohmann::json::parse(finished.out).at("findings");
  const auto mode = std::find_if(found.begin(), found.end(),
                                 [](const nlohmann::json& finding) { return finding["check"] == "mode"; });
  REQUIRE(mode != found.end());
  CHECK((*mode)["verdict"] == "fail");
  CHECK(Has((*mode)["what"], "tokens/viewer has mode 644"));
  CHECK(Has((*mode)["mend"], "chmod 600"));
  const auto rungd = std::find_if(found.begin(), found.end(),
                                  [](const nlohmann::json& finding) { return finding["check"] == "rungd"; });
  REQUIRE(rungd != found.end());
  CHECK((*rungd)["verdict"] == "ok");
}

}  // namespace
}  // namespace rung
