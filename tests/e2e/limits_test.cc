// Where `rung run` gives up: a child that dies again and again, and data that changed under the study.
#include <signal.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "base/clock.h"
#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kSoon = 60;
constexpr double kStudySeconds = 60;

// Kills every process of that name below `run` as soon as it is there, until `run` has ended.
std::optional<int> KillUntilTheEnd(Process& run, const std::string& program) {
  std::optional<int> code;
  WaitFor(kSoon, [&] {
    for (const pid_t pid : Descendants(run.pid())) {
      if (ProgramOf(pid) == program) kill(pid, SIGKILL);
    }
    code = run.Wait(0);
    return code.has_value();
  });
  return code;
}

TEST_CASE("a worker that dies six times ends the run, and the same command goes on") {
  const Site site(0.001);
  {
    const auto run = site.Run(1);
    CHECK(KillUntilTheEnd(*run, "rung-worker") == 1);
    CHECK_THAT(site.Output(), Catch::Contains("E0697") && Catch::Contains("Killed"));
    CHECK(Descendants(run->pid()).empty());
  }
  CHECK(site.Ask({"study", "show"})["state"] == "running");
  const auto again = site.Run(1);
  CHECK(again->Wait(kStudySeconds) == 0);
  CHECK(site.Results().size() == 9);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
}

TEST_CASE("a coordinator that is killed as soon as it is there is started again") {
  const Site site(0.001);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kSoon, [&] {
    for (const pid_t pid : Descendants(run->pid())) {
      if (ProgramOf(pid) == "rungd") return kill(pid, SIGKILL) == 0;
    }
    return false;
  }));
  const std::optional<int> code = run->Wait(kStudySeconds);
  INFO(site.Output());
  CHECK(code == 0);
  CHECK(site.Results().size() == 9);
}

TEST_CASE("a coordinator that dies six times ends the run, and the same command goes on") {
  const Site site(0.05);
  {
    const auto run = site.Run(1);
    REQUIRE(site.WaitForLine(kSoon, [](const TraceLine& line) { return line.event == "step"; }).has_value());
    CHECK(KillUntilTheEnd(*run, "rungd") == 1);
    CHECK_THAT(site.Output(),
               Catch::Contains("E0696") || Catch::Contains("E0692"));  // E0692: died at its start
    CHECK(Descendants(run->pid()).empty());
  }
  const auto again = site.Run(1);
  CHECK(again->Wait(kStudySeconds) == 0);
  CHECK(site.Results().size() == 9);
}

// The site's study reads `data`.
void TrainOn(const Site& site, const std::string& data) {
  REQUIRE(WriteFileAtomic(data, "sentence,label\na,b\n").ok());
  nlohmann::json study = nlohmann::json::parse(*ReadFile(site.root() + "/study.json"));
  study["trainer"]["train"] = std::filesystem::path(data).filename().string();
  REQUIRE(WriteFileAtomic(site.root() + "/study.json", study.dump()).ok());
}

TEST_CASE("data that changes under a study pauses it, blames nobody, and the study goes on when it is back") {
  const Site site(0.05);
  const std::string data = site.root() + "/train.csv";
  TrainOn(site, data);
  {
    const auto run = site.Run(1);
    REQUIRE(site.WaitForLine(kSoon, [](const TraceLine& line) { return line.trial == 2; }).has_value());
    REQUIRE(WriteFileAtomic(data, "sentence,label\na,b\nc,d\n").ok());
    CHECK(run->Wait(kSoon) == 6);
    CHECK_THAT(site.Output(), Catch::Contains("E0387") && Catch::Contains(data));
    CHECK(Descendants(run->pid()).empty());
  }
  const nlohmann::json paused = site.Ask({"study", "show"});
  CHECK(paused["state"] == "paused");
  CHECK(paused["failures_by_cause"].empty());
  REQUIRE(WriteFileAtomic(data, "sentence,label\na,b\n").ok());
  const auto again = site.Run(1);
  CHECK(again->Wait(kStudySeconds) == 0);
  CHECK(site.Results().size() == 9);
}

TEST_CASE("data that no worker can read pause the study too, and blame nobody") {
  const Site site(0.05);
  const std::string data = site.root() + "/train.csv";
  TrainOn(site, data);
  {
    const auto run = site.Run(1);
    REQUIRE(site.WaitForLine(kSoon, [](const TraceLine& line) { return line.trial == 2; }).has_value());
    std::filesystem::rename(data, data + ".away");
    CHECK(run->Wait(kSoon) == 6);
    CHECK_THAT(site.Output(), Catch::Contains("E0387") && Catch::Contains(data));
  }
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
  std::filesystem::rename(data + ".away", data);
  const auto again = site.Run(1);
  CHECK(again->Wait(kStudySeconds) == 0);
  CHECK(site.Results().size() == 9);
}

TEST_CASE("a search that only loses its trainers ends the run, and goes on when the machine is mended") {
  const std::string trainer = std::string(RUNG_SOURCE_DIR) + "/tests/e2e/trainer.py";
  const Site site(
      0.001,
      {{"trainer", {{"argv", {"sh", "-c", "test -e mended || kill -9 $$; exec python3 " + trainer}}}}});
  {
    const auto run = site.Run(8);  // each waits before its third attempt
    CHECK(run->Wait(kSoon) == 1);
    CHECK_THAT(site.Output(), Catch::Contains("E0389") && Catch::Contains("in a row lost their workers") &&
                                  Catch::Contains("rung run study.json --workers 8"));
    CHECK(Descendants(run->pid()).empty());
  }
  REQUIRE(WriteFileAtomic(site.root() + "/mended", "").ok());
  const auto again = site.Run(1);
  CHECK(again->Wait(kStudySeconds) == 0);
}

TEST_CASE("a run whose Slurm job ends stops in good order and says how to go on") {
  const Site site(0.05);
  SystemClock clock;
  const int64_t end = absl::ToUnixSeconds(clock.Now()) + 70;  // its workers leave a minute before that
  Process::Options options;
  options.argv = {std::string(RUNG_BIN_DIR) + "/rung", "run", "study.json", "--workers", "2"};
  options.environment = {{"SLURM_JOB_ID", "999999999"}, {"SLURM_JOB_END_TIME", std::to_string(end)}};
  options.directory = site.root();
  options.output_path = site.root() + "/output";
  Process run(options);
  CHECK(run.Wait(kStudySeconds) == 130);
  CHECK_THAT(site.Output(), Catch::Contains("the Slurm job ends") &&
                                Catch::Contains("rung run study.json --workers 2") &&
                                !Catch::Contains("E0697"));
  CHECK(Descendants(run.pid()).empty());
}

}  // namespace
}  // namespace rung
