// Studies that are interrupted: kill -9 of a worker, a trainer, the coordinator, and of everything.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr double kStudySeconds = 60;
constexpr double kSoon = 20;
constexpr int kStepsPerUnit = 4;  // of trainer.py

pid_t Find(const Process& run, const std::string& program) {
  for (const pid_t pid : Descendants(run.pid())) {
    if (ProgramOf(pid) == program) return pid;
  }
  return 0;
}

// A trainer in the middle of its training: its third step is done and the fourth is not.
std::optional<TraceLine> MidTraining(const Site& site) {
  return site.WaitForLine(kSoon,
                          [](const TraceLine& line) { return line.event == "step" && line.step == 3; });
}

nlohmann::json TrialOf(const Site& site, int64_t trial) {
  return site.Ask({"trial", "show", std::to_string(trial)});
}

// Why the attempt of the trial's first rung was lost: "its process ..." is a proof of death, not silence.
std::string LossOf(const Site& site, int64_t trial, int64_t attempt) {
  const nlohmann::json shown = TrialOf(site, trial);
  for (const nlohmann::json& event : shown["events"]) {
    const bool lost = event["kind"] == "attempt_lost" && event["rung"] == 0 && event["attempt"] == attempt;
    if (lost) return event["text"];
  }
  return "";
}

void CheckFinished(const Site& site, Process& run) {
  const std::optional<int> code = run.Wait(kStudySeconds);
  INFO(site.Output());
  REQUIRE(code.has_value());
  CHECK(*code == 0);
}

// The step up to which a later attempt of (trial, rung) must not train again: what the coordinator had
// acknowledged as checkpointed when it granted the attempt.
std::map<std::pair<int, int64_t>, int> AcknowledgedSteps(const nlohmann::json& trial) {
  std::map<std::pair<int, int64_t>, int> steps;
  int checkpointed = 0;
  for (const nlohmann::json& event : trial["events"]) {
    if (event["kind"] == "checkpoint") {
      const std::string text = event["text"];
      REQUIRE(text.starts_with("at budget "));
      checkpointed =
          std::max(checkpointed, static_cast<int>(std::stod(text.substr(10)) * kStepsPerUnit + 0.5));
    }
    if (event["kind"] == "attempt_granted") {
      steps[{event["rung"].get<int>(), event["attempt"].get<int64_t>()}] = checkpointed;
    }
  }
  return steps;
}

// No rung that has its result was trained again, and no step that an earlier attempt of the trial had
// checkpointed, as far as the coordinator had acknowledged it.
void CheckNothingTrainedTwice(const Site& site) {
  std::map<int64_t, std::map<std::pair<int, int64_t>, int>> acknowledged;
  for (const TraceLine& line : site.Trace()) {
    if (line.event != "step") continue;
    if (!acknowledged.contains(line.trial))
      acknowledged[line.trial] = AcknowledgedSteps(TrialOf(site, line.trial));
    INFO("trial " << line.trial << " rung " << line.rung << " attempt " << line.attempt << " step "
                  << line.step);
    CHECK(line.step > acknowledged[line.trial].at({line.rung, line.attempt}));
  }
  std::set<std::pair<int64_t, int>> ended;
  for (const TraceLine& line : site.Trace()) {
    const auto key = std::make_pair(line.trial, line.rung);
    if (line.event == "start") {
      INFO("trial " << line.trial << " rung " << line.rung);
      CHECK(ended.count(key) == 0);
    }
    if (line.event == "end") ended.insert(key);
  }
}

// The undisturbed run that others are compared with; made once.
const nlohmann::json& Undisturbed() {
  static const nlohmann::json results = [] {
    const Site site(0.001);
    const auto run = site.Run(1);
    CheckFinished(site, *run);
    CheckNothingTrainedTwice(site);
    std::set<std::pair<int64_t, int>> steps;
    for (const TraceLine& line : site.Trace()) {
      if (line.event == "step") CHECK(steps.emplace(line.trial, line.step).second);
    }
    return site.Results();
  }();
  return results;
}

TEST_CASE("a study runs to its end with one command") {
  const nlohmann::json& results = Undisturbed();
  CHECK(results.size() == 9);
  const auto completed = std::count_if(results.begin(), results.end(), [](const nlohmann::json& trial) {
    return trial["state"] == "completed";
  });
  CHECK(completed == 1);
}

TEST_CASE("kill -9 of a worker: the trial goes on elsewhere from its last checkpoint") {
  const Site site(0.1);
  const auto run = site.Run(2);
  const auto victim = MidTraining(site);
  REQUIRE(victim.has_value());
  REQUIRE(ProgramOf(victim->parent) == "rung-worker");
  REQUIRE(kill(victim->parent, SIGKILL) == 0);
  const auto again = site.WaitForLine(kSoon, [&](const TraceLine& line) {
    return line.event == "start" && line.trial == victim->trial && line.rung == victim->rung &&
           line.attempt > victim->attempt;
  });
  REQUIRE(again.has_value());
  CHECK(again->step >= victim->step);  // nothing of what was checkpointed is done again
  CHECK(again->parent != victim->parent);
  CHECK(!Lives(victim->pid));  // a worker takes its trainer along
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
  CHECK(TrialOf(site, victim->trial)["cause"].is_null());
  CHECK(LossOf(site, victim->trial, victim->attempt).starts_with("its process "));
  CHECK(site.Results()[std::to_string(victim->trial)]["config"] ==
        Undisturbed()[std::to_string(victim->trial)]["config"]);
}

TEST_CASE("kill -9 of the trainer: nobody's fault, and the trial goes on") {
  const Site site(0.05);
  const auto run = site.Run(1);
  const auto victim = MidTraining(site);
  REQUIRE(victim.has_value());
  REQUIRE(kill(victim->pid, SIGKILL) == 0);
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  const auto again = site.WaitForLine(0, [&](const TraceLine& line) {
    return line.event == "start" && line.trial == victim->trial && line.attempt > victim->attempt;
  });
  REQUIRE(again.has_value());
  CHECK(again->step >= victim->step);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
  CHECK(LossOf(site, victim->trial, victim->attempt).starts_with("the trainer was killed by SIGKILL"));
  CHECK(site.Results() == Undisturbed());
}

TEST_CASE("a trainer that crashes fails its trial as a crash") {
  const Site site(0.05);
  const auto run = site.Run(1);
  const auto victim = MidTraining(site);
  REQUIRE(victim.has_value());
  REQUIRE(kill(victim->pid, SIGSEGV) == 0);
  CheckFinished(site, *run);
  const nlohmann::json trial = TrialOf(site, victim->trial);
  CHECK(trial["state"] == "failed");
  CHECK(trial["cause"] == "crash");
  CHECK(trial["message"].get<std::string>().find("SIGSEGV") != std::string::npos);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"] == nlohmann::json({{"crash", 1}}));
}

// A memory cgroup of its own, where this user may make one.
class MemoryGroup {
 public:
  explicit MemoryGroup(int64_t limit_bytes) {
    const std::string name = "/rung-e2e-" + std::to_string(getpid());
    const bool v1 = std::filesystem::exists("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    path_ = (v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup") + name;
    if (mkdir(path_.c_str(), 0700) != 0) return;
    usable_ = Write(v1 ? "memory.limit_in_bytes" : "memory.max", std::to_string(limit_bytes));
  }
  ~MemoryGroup() {
    WaitFor(5, [this] { return rmdir(path_.c_str()) == 0 || errno == ENOENT; });
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  bool usable() const { return usable_; }
  std::string procs() const { return path_ + "/cgroup.procs"; }

 private:
  bool Write(const std::string& file, const std::string& text) const {
    std::ofstream stream(path_ + "/" + file);
    stream << text << std::flush;
    return stream.good();
  }
  std::string path_;
  bool usable_ = false;
};

TEST_CASE("a trainer that the kernel kills for memory fails its trial as out_of_memory") {
  const Site site(0.05);
  const MemoryGroup group(int64_t{400} << 20);
  if (!group.usable()) {
    WARN("this user may not make a memory cgroup: left out");
    return;
  }
  const auto run = site.Run(1, {group.procs()});
  REQUIRE(MidTraining(site).has_value());
  { std::ofstream mark(site.oom_file()); }
  CheckFinished(site, *run);
  const nlohmann::json study = site.Ask({"study", "show"});
  CHECK(study["failures_by_cause"] == nlohmann::json({{"out_of_memory", 1}}));
}

TEST_CASE("kill -9 of the coordinator: workers go on training and every acknowledged result is there") {
  const Site site(0.1);
  const auto run = site.Run(2);
  // Some results are in, and training is on its way.
  const auto running = site.WaitForLine(
      kSoon, [](const TraceLine& line) { return line.trial >= 4 && line.event == "step" && line.step == 2; });
  REQUIRE(running.has_value());
  const nlohmann::json before = site.Results();
  const pid_t coordinator = Find(*run, "rungd");
  REQUIRE(coordinator != 0);
  REQUIRE(kill(coordinator, SIGKILL) == 0);
  CheckFinished(site, *run);
  CHECK(site.Output().find("starting it again") != std::string::npos);
  // The attempt ran through it all, in the process that it had: it was not started again.
  const auto lines = site.Trace();
  const auto of_running = [&](const std::string& event, auto fits) {
    return std::any_of(lines.begin(), lines.end(), [&](const TraceLine& line) {
      return line.event == event && line.trial == running->trial && line.rung == running->rung && fits(line);
    });
  };
  CHECK(of_running("end", [&](const TraceLine& line) {
    return line.attempt == running->attempt && line.pid == running->pid && line.parent == running->parent;
  }));
  CHECK(!of_running("start", [&](const TraceLine& line) { return line.attempt > running->attempt; }));
  CheckNothingTrainedTwice(site);
  const nlohmann::json after = site.Results();
  int compared = 0;
  for (const auto& [trial, row] : before.items()) {
    for (const nlohmann::json& result : row["rungs"]) {
      if (result[3].empty()) continue;  // still being trained
      const nlohmann::json& now = after[trial]["rungs"];
      CHECK(std::find(now.begin(), now.end(), result) != now.end());
      ++compared;
    }
  }
  CHECK(compared >= 2);
}

TEST_CASE(
    "a rung that was finished while the coordinator was dead is not trained again, though its worker died "
    "too") {
  const Site site(0.05);
  const auto start = [&](const std::string& program, std::vector<std::string> arguments) {
    Process::Options options;
    options.argv = {std::string(RUNG_BIN_DIR) + "/" + program, "--dir", site.state_dir()};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.directory = site.root();
    options.output_path = site.root() + "/" + program + ".out";
    return std::make_unique<Process>(options);
  };
  const auto coordinator = start("rungd", {});
  REQUIRE(WaitFor(kSoon, [&] { return std::filesystem::exists(site.state_dir() + "/endpoint.json"); }));
  site.Ask({"study", "create", "study.json"});
  const auto worker = start("rung-worker", {"--slot", "0"});
  const auto running = MidTraining(site);
  REQUIRE(running.has_value());
  coordinator->Kill(SIGKILL);
  REQUIRE(coordinator->Wait(kSoon).has_value());
  // Its result is in the spool.
  const auto spooled = [&] {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(site.state_dir() + "/workers")) {
      if (entry.path().filename() == "spool" && entry.file_size() > 0) return true;
    }
    return false;
  };
  REQUIRE(WaitFor(kSoon, spooled));
  worker->Kill(SIGKILL);
  REQUIRE(worker->Wait(kSoon).has_value());
  const auto run = site.Run(1);
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  const auto again = site.WaitForLine(0, [&](const TraceLine& line) {
    return line.event == "start" && line.trial == running->trial && line.rung == running->rung &&
           line.attempt > running->attempt;
  });
  CHECK_FALSE(again.has_value());
  CHECK(site.Results() == Undisturbed());
}

void KillEverything(Process& run) {
  std::vector<pid_t> all = Descendants(run.pid());
  all.push_back(run.pid());
  for (const pid_t pid : all) kill(pid, SIGSTOP);  // nobody reacts to the death of another
  for (const pid_t pid : all) kill(pid, SIGKILL);
  REQUIRE(WaitFor(kSoon, [&] {
    run.Wait(0);
    return std::none_of(all.begin(), all.end(), [](pid_t pid) { return Lives(pid); });
  }));
}

TEST_CASE(
    "kill -9 of everything, then the same command: it goes on where it was and ends with the same results") {
  const Site site(0.05);
  {
    const auto run = site.Run(1);
    const auto mid = site.WaitForLine(kSoon, [](const TraceLine& line) {
      return line.trial == 5 && line.event == "step" && line.step == 2;
    });
    REQUIRE(mid.has_value());
    KillEverything(*run);
  }
  const size_t lines_before = site.Trace().size();
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kSoon, [&] { return site.Trace().size() > lines_before; }));
  const TraceLine first = site.Trace()[lines_before];
  CHECK(first.trial == 5);
  CHECK(first.step >= 2);
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  CHECK(LossOf(site, first.trial, first.attempt - 1).starts_with("its process "));
  CHECK(site.Results() == Undisturbed());
  // The same command on a finished study prints it and trains nothing.
  const size_t lines_at_end = site.Trace().size();
  const auto third = site.Run(1);
  CheckFinished(site, *third);
  CHECK(site.Trace().size() == lines_at_end);
}

TEST_CASE("kill -9 of everything when a model proposes: the same configs are proposed again") {
  // The model speaks from the fourth trial on; the second bracket is proposed after the kill.
  const nlohmann::json modelled = {
      {"algorithm", {{"type", "bohb"}, {"random_fraction", 0.1}, {"min_points", 2}}},
      {"stop", {{"brackets", 2}}}};
  const Site undisturbed(0.001, modelled);
  {
    const auto run = undisturbed.Run(1);
    CheckFinished(undisturbed, *run);
  }
  const Site site(0.02, modelled);
  int64_t proposed = 0;
  {
    const auto run = site.Run(1);
    REQUIRE(
        site.WaitForLine(kSoon, [](const TraceLine& line) { return line.rung >= 1 && line.event == "step"; })
            .has_value());
    proposed = site.Ask({"study", "show"})["model_proposals"];
    KillEverything(*run);
  }
  CHECK(proposed > 0);
  const auto run = site.Run(1);
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  CHECK(site.Ask({"study", "show"})["model_proposals"] > proposed);
  CHECK(site.Results() == undisturbed.Results());
}

TEST_CASE("checkpoints that a coordinator was killed before it could remove are removed by the next") {
  const Site site(0.001);
  const auto run = site.Run(1);
  CheckFinished(site, *run);
  const std::string checkpoints = site.state_dir() + "/studies/1/checkpoints/";
  std::vector<std::string> left, kept;
  const nlohmann::json listed = site.Ask({"trial", "list"});
  for (const nlohmann::json& trial : listed["trials"]) {
    const std::string directory = checkpoints + std::to_string(trial["trial"].get<int64_t>());
    if (trial["state"] == "completed") {
      left.push_back(directory + "/0");
      kept.push_back(directory + "/2");
    } else {
      left.push_back(directory);
    }
  }
  REQUIRE(left.size() == 9);
  REQUIRE(kept.size() == 1);
  for (const std::string& directory : left)
    std::filesystem::create_directories(directory + "/0/1/update-00000001");
  const auto again = site.Run(1);  // nothing is left to do, but its coordinator may write
  CHECK(WaitFor(kSoon, [&] {
    return std::none_of(left.begin(), left.end(),
                        [](const std::string& path) { return std::filesystem::exists(path); });
  }));
  CHECK(std::filesystem::exists(kept.front()));
}

TEST_CASE("SIGTERM: workers checkpoint and release, and the same command goes on") {
  const Site site(0.1);
  {
    const auto run = site.Run(2);
    REQUIRE(MidTraining(site).has_value());
    run->Kill(SIGTERM);
    const std::optional<int> code = run->Wait(kSoon);
    REQUIRE(code.has_value());
    CHECK(*code == 130);
  }
  const auto lines = site.Trace();
  CHECK(std::any_of(lines.begin(), lines.end(),
                    [](const TraceLine& line) { return line.event == "released"; }));
  const auto run = site.Run(2);
  CheckFinished(site, *run);
  CheckNothingTrainedTwice(site);
  CHECK(site.Ask({"study", "show"})["failures_by_cause"].empty());
}

}  // namespace
}  // namespace rung
