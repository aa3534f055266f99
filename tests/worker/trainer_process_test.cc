#include "worker/trainer_process.h"

#include <fcntl.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "tests/worker/scratch.h"

namespace rung {
namespace {

struct Seen {
  std::vector<MetricMessage> metrics;
  std::vector<CheckpointMessage> checkpoints;
};

// A trainer process over a scratch directory, whose log goes nowhere.
class Bench {
 public:
  explicit Bench(absl::Duration patience = absl::Seconds(20),
                 absl::Duration failure_patience = absl::Milliseconds(50))
      : log_("test", clock_) {
    RUNG_CHECK(log_.OpenFile("/dev/null").ok(), "there is a /dev/null");
    signal(SIGPIPE, SIG_IGN);  // as rung-worker does: a trainer may be dead before it is told its trial
    TrainerOptions options;
    options.scratch_directory = scratch.root();
    options.trainer_path = scratch.path("trainer");
    options.stop_patience = patience;
    options.failure_patience = failure_patience;
    trainer = std::make_unique<TrainerProcess>(options, MemoryEvents("/proc", scratch.path("cgroup")), clock_,
                                               log_);
  }

  AttemptOutcome Run(const v1::Attempt& attempt) {
    const auto plan = PlanAttempt(attempt);
    RUNG_CHECK(plan.ok(), "the test's attempt is good");
    AttemptObserver observer;
    observer.on_metric = [this](const MetricMessage& metric) {
      seen.metrics.push_back(metric);
      if (on_first_metric && seen.metrics.size() == 1) on_first_metric();
    };
    observer.on_checkpoint = [this](const CheckpointMessage& message) {
      seen.checkpoints.push_back(message);
    };
    return trainer->Run(*plan, control, observer);
  }
  AttemptOutcome RunCommand(const std::string& text) { return Run(CommandAttempt(scratch, ++trials_, text)); }

  std::string Log() const { return *ReadFile(scratch.path("logs/" + std::to_string(trials_) + ".log")); }

  Scratch scratch;
  AttemptControl control;
  std::unique_ptr<TrainerProcess> trainer;
  Seen seen;
  std::function<void()> on_first_metric;

 private:
  SystemClock clock_;
  rung::Log log_;
  int64_t trials_ = 0;
};

constexpr char kReady[] = R"(echo '{"type": "metric", "step": 1, "budget": 1, "values": {}}' >&3; )";

// The kernel delivers SIGKILL when it likes: gone, or a zombie, after a bounded number of looks.
bool DiesSoon(pid_t pid) {
  for (int i = 0; i < 1'000'000; ++i) {
    std::ifstream stat(absl::StrFormat("/proc/%d/stat", pid));
    std::string id, name, state;
    if (!(stat >> id >> name >> state) || state == "Z") return true;
    std::this_thread::yield();
  }
  return false;
}

FailedOutcome Failed(const AttemptOutcome& outcome) {
  REQUIRE(std::holds_alternative<FailedOutcome>(outcome));
  return std::get<FailedOutcome>(outcome);
}

ReleasedOutcome Released(const AttemptOutcome& outcome) {
  REQUIRE(std::holds_alternative<ReleasedOutcome>(outcome));
  return std::get<ReleasedOutcome>(outcome);
}

TEST_CASE("a command's metrics, checkpoint, result and log arrive") {
  Bench bench;
  const AttemptOutcome outcome = bench.RunCommand(
      R"(echo out; echo err >&2
         echo '{"type": "metric", "step": 5, "budget": 1.5, "values": {"train/loss": 0.25}}' >&3
         echo '{"type": "checkpoint", "budget": 1.5, "path": "c1"}' >&3
         echo '{"type": "result", "values": {"validation/accuracy": 0.75, "train/budget": 2.5}, "outputs": {"t": "t.json"}}' >&3)");
  REQUIRE(std::holds_alternative<ResultValues>(outcome));
  const auto& result = std::get<ResultValues>(outcome);
  CHECK(result.values.at("validation/accuracy") == 0.75);
  CHECK(result.charged == 2.5);
  CHECK(result.outputs.at("t") == bench.scratch.path("outputs/1/t.json"));
  REQUIRE(bench.seen.metrics.size() == 1);
  CHECK(bench.seen.metrics[0].step == 5);
  REQUIRE(bench.seen.checkpoints.size() == 1);
  CHECK(bench.seen.checkpoints[0].path == "c1");
  CHECK(bench.Log().find("out\n") != std::string::npos);
  CHECK(bench.Log().find("err\n") != std::string::npos);
}

TEST_CASE("a budget that nobody can have read fails the attempt") {
  Bench bench;
  const FailedOutcome failed = Failed(bench.RunCommand(
      R"(echo '{"type": "result", "values": {"validation/accuracy": 1, "train/budget": 1e308}}' >&3)"));
  CHECK(failed.cause == FailureCause::kCrash);
  CHECK_THAT(failed.message, Catch::Contains("train/budget must be a number from 0 to 1e+15"));
}

TEST_CASE("a command is charged no more than it was granted, whatever it says") {
  Bench bench;
  const AttemptOutcome outcome = bench.RunCommand(
      R"(echo '{"type": "checkpoint", "budget": 1e15, "path": "c1"}' >&3
         echo '{"type": "result", "values": {"validation/accuracy": 1, "train/budget": 1e15}}' >&3)");
  REQUIRE(std::holds_alternative<ResultValues>(outcome));
  CHECK(std::get<ResultValues>(outcome).charged == 3);
  CHECK(std::get<ResultValues>(outcome).values.at("train/budget") == 1e15);
  REQUIRE(bench.seen.checkpoints.size() == 1);
  CHECK(bench.seen.checkpoints[0].budget == 3);
}

TEST_CASE("a command finds its trial file and only the environment it was given") {
  Bench bench;
  setenv("RUNG_TEST_PASSED", "yes", 1);
  setenv("RUNG_TEST_SECRET", "no", 1);
  setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);  // without it the visible devices are others
  v1::Attempt attempt = CommandAttempt(
      bench.scratch, 1, std::string("cp \"$RUNG_TRIAL_FILE\" trial.json; env > env.txt; ") + kGoodResult);
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  study["trainer"]["cwd"] = bench.scratch.root();
  study["trainer"]["env"] = {{"OWN", "a b"}};
  study["trainer"]["pass_env"] = {"RUNG_TEST_PASSED", "RUNG_TEST_UNSET"};
  attempt.set_study_json(study.dump());
  attempt.set_resume_dir("/somewhere");
  (*attempt.mutable_inputs())["model"] = "/models/m";
  (*attempt.mutable_data_sha256())["/data/train.csv"] = "9f86";
  attempt.mutable_key()->set_rung(2);
  attempt.mutable_key()->set_replicate(3);
  attempt.mutable_key()->set_attempt(4);
  attempt.set_budget_from(1);
  REQUIRE(std::holds_alternative<ResultValues>(bench.Run(attempt)));
  const nlohmann::json trial = nlohmann::json::parse(*ReadFile(bench.scratch.path("trial.json")));
  // Whole, as docs/trainer-messages.md has it.
  const nlohmann::json expected = {
      {"protocol", 1},
      {"kind", "train"},
      {"study", 1},
      {"trial", 1},
      {"rung", 2},
      {"replicate", 3},
      {"attempt", 4},
      {"seed", 7},
      {"fold", nullptr},
      {"config", {{"learning_rate", .5}}},
      {"trainer", study["trainer"]},
      {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}, {"report", "last"}}},
      {"on_promotion", "resume"},
      {"budget", {{"unit", "epochs"}, {"from", 1.0}, {"to", 3.0}, {"max", 9}}},
      {"checkpoint_dir", attempt.checkpoint_dir()},
      {"resume_dir", "/somewhere"},
      {"inputs", {{"model", "/models/m"}}},
      {"data_sha256", {{"/data/train.csv", "9f86"}}},
      {"output_dir", attempt.output_dir()},
      {"deadline_seconds", nullptr}};
  CHECK(trial == expected);
  const std::string environment = *ReadFile(bench.scratch.path("env.txt"));
  CHECK(environment.find("OWN=a b\n") != std::string::npos);
  CHECK(environment.find("RUNG_TEST_PASSED=yes\n") != std::string::npos);
  CHECK(environment.find("RUNG_METRICS_FD=3\n") != std::string::npos);
  CHECK(environment.find("CUDA_DEVICE_ORDER=PCI_BUS_ID\n") != std::string::npos);
  CHECK(environment.find("RUNG_TEST_SECRET") == std::string::npos);
  CHECK(environment.find("RUNG_TEST_UNSET") == std::string::npos);
}

TEST_CASE("what an attempt of the same number left before a restore is gone when the new one starts") {
  Bench bench;
  v1::Attempt attempt = CommandAttempt(
      bench.scratch, 1, absl::StrFormat("ls -R checkpoints outputs > left.txt; %s", kGoodResult));
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  study["trainer"]["cwd"] = bench.scratch.root();
  attempt.set_study_json(study.dump());
  const auto left = [&](const std::string& resume_dir, v1::AttemptKind kind) {
    for (const std::string& directory : {attempt.checkpoint_dir(), attempt.output_dir()}) {
      REQUIRE(MakeDirectories(directory + "/update-00000099").ok());
      REQUIRE(WriteFileAtomic(directory + "/update-00000099/manifest.json", "{}").ok());
    }
    attempt.set_resume_dir(resume_dir);
    attempt.mutable_key()->set_kind(kind);
    REQUIRE(std::holds_alternative<ResultValues>(bench.Run(attempt)));
    CHECK(std::filesystem::is_directory(attempt.checkpoint_dir()));
    CHECK(std::filesystem::is_directory(attempt.output_dir()));
    return ReadFile(bench.scratch.path("left.txt"))->find("manifest.json") != std::string::npos;
  };
  CHECK_FALSE(left("", v1::ATTEMPT_KIND_TRAIN));
  CHECK_FALSE(left(bench.scratch.path("checkpoints/of-another"), v1::ATTEMPT_KIND_TRAIN));
  CHECK(left(attempt.checkpoint_dir(), v1::ATTEMPT_KIND_TRAIN));  // it goes on from there
  attempt.set_checkpoint_dir(attempt.output_dir() + "/checkpoint");
  std::filesystem::remove_all(bench.scratch.path("checkpoints"));
  REQUIRE(MakeDirectories(bench.scratch.path("checkpoints")).ok());
  CHECK_FALSE(left(bench.scratch.path("resume"), v1::ATTEMPT_KIND_EVALUATE));
}

TEST_CASE("arguments are not read by a shell") {
  Bench bench;
  v1::Attempt attempt = CommandAttempt(bench.scratch, 1, "");
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  const std::string program = bench.scratch.Script(
      "program", std::string("#!/bin/sh\nprintf '%s' \"$1\" > \"$2\"\n") + kGoodResult + "\n");
  study["trainer"]["argv"] = {program, "$(id) ; * '\"", bench.scratch.path("argument")};
  attempt.set_study_json(study.dump());
  REQUIRE(std::holds_alternative<ResultValues>(bench.Run(attempt)));
  CHECK(*ReadFile(bench.scratch.path("argument")) == "$(id) ; * '\"");
}

TEST_CASE("the causes of a trainer's death are told apart") {
  Bench bench;
  for (const char* fault : {"SEGV", "ABRT", "FPE", "ILL"}) {
    const FailedOutcome failed = Failed(bench.RunCommand(absl::StrFormat("kill -%s $$", fault)));
    CHECK(failed.cause == FailureCause::kCrash);
    CHECK(failed.message.find(absl::StrFormat("SIG%s", fault)) != std::string::npos);
  }
  const FailedOutcome exited = Failed(bench.RunCommand("echo first >&2; echo the reason >&2; exit 7"));
  CHECK(exited.cause == FailureCause::kCrash);
  CHECK(exited.message.find("exit code 7") != std::string::npos);
  CHECK(exited.message.find("the reason") != std::string::npos);
  CHECK(Failed(bench.RunCommand("exit 0")).message.find("without a result") != std::string::npos);
  CHECK(Failed(bench.RunCommand(std::string(kGoodResult) + "; exit 3")).cause == FailureCause::kCrash);
  const FailedOutcome other =
      Failed(bench.RunCommand(R"(echo '{"type": "result", "values": {"acc": 0.5, "loss": 1}}' >&3)"));
  CHECK_THAT(other.message, Catch::Contains("no value of") && Catch::Contains("it has acc, loss"));
  for (const char* kill_signal : {"KILL", "TERM", "HUP"}) {
    CHECK(Released(bench.RunCommand(absl::StrFormat("kill -%s $$", kill_signal))).reason ==
          LossReason::kKilled);
  }
  // Nobody asked for it: it counts, or a program that always ends so would be granted for ever.
  CHECK(Released(bench.RunCommand("exit 85")).reason == LossReason::kKilled);
  CHECK(Released(bench.RunCommand("exit 74")).reason == LossReason::kKilled);
}

TEST_CASE("a kill by the out-of-memory killer is out_of_memory, by a person it is not") {
  Bench bench;
  // Both versions of control groups, whichever this machine's /proc speaks of; the trainer plays the kernel.
  REQUIRE(MakeDirectories(bench.scratch.path("cgroup/memory")).ok());
  const std::string v1_file = bench.scratch.path("cgroup/memory/memory.oom_control");
  const std::string v2_file = bench.scratch.path("cgroup/memory.events");
  const std::string before = "under_oom 0\noom 2\noom_kill 2\n";
  REQUIRE(WriteFileAtomic(v1_file, before).ok());
  REQUIRE(WriteFileAtomic(v2_file, before).ok());
  CHECK(Released(bench.RunCommand("kill -KILL $$")).reason == LossReason::kKilled);
  const std::string count =
      absl::StrFormat("for f in %s %s; do echo oom_kill 3 > $f; done; ", v1_file, v2_file);
  CHECK(Failed(bench.RunCommand(count + "kill -KILL $$")).cause == FailureCause::kOutOfMemory);
}

TEST_CASE("the counter of the out-of-memory killer is found in both versions of control groups") {
  const Scratch scratch;
  REQUIRE(MakeDirectories(scratch.path("proc/42")).ok());
  REQUIRE(MakeDirectories(scratch.path("proc/43")).ok());
  REQUIRE(MakeDirectories(scratch.path("cgroup/job/step")).ok());
  REQUIRE(MakeDirectories(scratch.path("cgroup/memory/slurm")).ok());
  REQUIRE(WriteFileAtomic(scratch.path("proc/42/cgroup"), "0::/job/step\n").ok());
  REQUIRE(
      WriteFileAtomic(scratch.path("proc/43/cgroup"), "2:cpu:/slurm\n4:hugetlb,memory:/slurm\n0::/\n").ok());
  REQUIRE(WriteFileAtomic(scratch.path("cgroup/job/step/memory.events"), "low 0\noom 9\noom_kill 5\n").ok());
  REQUIRE(WriteFileAtomic(scratch.path("cgroup/memory/slurm/memory.oom_control"), "under_oom 0\n").ok());
  REQUIRE(WriteFileAtomic(scratch.path("cgroup/memory/slurm/memory.failcnt"), "17\n").ok());
  const MemoryEvents events(scratch.path("proc"), scratch.path("cgroup"));
  CHECK(MemoryEvents::OomKills(events.CounterFile(42)) == 5);
  CHECK(MemoryEvents::OomKills(events.CounterFile(43)) == 17);
  CHECK(MemoryEvents::OomKills(events.CounterFile(44)) == 0);
}

TEST_CASE("lines that are no messages fail the attempt") {
  Bench bench;
  CHECK(Failed(bench.RunCommand("echo hello >&3; sleep 60")).message.find("hello") != std::string::npos);
  CHECK(Failed(bench.RunCommand("head -c 70000 /dev/zero | tr '\\0' x >&3; sleep 60")).cause ==
        FailureCause::kCrash);
  CHECK(Failed(bench.RunCommand(R"(echo '{"type": "result", "values": {"other": 1}}' >&3; sleep 60)"))
            .message.find("validation/accuracy") != std::string::npos);
}

TEST_CASE("a trainer's own word on its failure counts") {
  Bench bench;
  const FailedOutcome failed = Failed(bench.RunCommand(
      R"(echo '{"type": "failed", "cause": "out_of_memory", "message": "2 GiB"}' >&3; exit 1)"));
  CHECK(failed.cause == FailureCause::kOutOfMemory);
  CHECK(failed.message == "2 GiB");
}

TEST_CASE("what a failed program says until it ends is kept") {
  Bench bench(absl::Seconds(20), absl::Seconds(20));
  const FailedOutcome failed = Failed(bench.RunCommand(
      R"(echo '{"type": "failed", "cause": "diverged", "message": "nan"}' >&3
         echo hello >&3; sleep 0.3; echo last words >&2; exit 1)"));
  CHECK(failed.cause == FailureCause::kDiverged);
  CHECK(bench.Log().find("last words\n") != std::string::npos);
  const FailedOutcome bad = Failed(bench.RunCommand(
      R"(echo '{"type": "result", "values": {"other": 1}}' >&3; sleep 0.3; echo a traceback >&2; exit 0)"));
  CHECK(bad.message.find("validation/accuracy") != std::string::npos);
  CHECK(bench.Log().find("a traceback\n") != std::string::npos);
}

TEST_CASE("an evaluation needs no objective and is charged nothing") {
  Bench bench;
  v1::Attempt attempt =
      CommandAttempt(bench.scratch, 1, R"(echo '{"type": "result", "values": {"test/accuracy": 0.5}}' >&3)");
  attempt.mutable_key()->set_kind(v1::ATTEMPT_KIND_EVALUATE);
  const AttemptOutcome outcome = bench.Run(attempt);
  REQUIRE(std::holds_alternative<ResultValues>(outcome));
  CHECK(std::get<ResultValues>(outcome).charged == 0);
}

TEST_CASE("a stopped trainer may checkpoint, and a result that was ready counts") {
  Bench bench;
  bench.on_first_metric = [&] { bench.control.Request(Interrupt::kStop); };
  const ReleasedOutcome released = Released(bench.RunCommand(
      absl::StrFormat("trap 'echo saved > %s; exit 85' TERM; %s while :; do sleep 0.01; done",
                      bench.scratch.path("saved"), kReady)));
  CHECK(released.reason == LossReason::kReleased);
  CHECK(*ReadFile(bench.scratch.path("saved")) == "saved\n");

  bench.control.Reset();
  bench.seen = {};
  const AttemptOutcome outcome = bench.RunCommand(absl::StrFormat(
      "trap '%s; exit 0' TERM; %s while :; do sleep 0.01; done",
      R"(echo "{\"type\": \"result\", \"values\": {\"validation/accuracy\": 1}}" >&3)", kReady));
  CHECK(std::holds_alternative<ResultValues>(outcome));
}

TEST_CASE("the program under a wrapper that dies of SIGTERM may finish its checkpoint") {
  Bench bench;
  bench.on_first_metric = [&] { bench.control.Request(Interrupt::kDrain); };
  const std::string inner = bench.scratch.Script(
      "inner",
      absl::StrFormat(
          "#!/bin/sh\ntrap 'sleep 0.3; echo saved > %s; exit 85' TERM\n%s\nwhile :; do sleep 0.01; done\n",
          bench.scratch.path("saved"), kReady));
  Released(bench.RunCommand(inner + "; true"));
  CHECK(*ReadFile(bench.scratch.path("saved")) == "saved\n");
}

TEST_CASE("a trainer that ignores SIGTERM is killed after the patience") {
  Bench bench(absl::Milliseconds(200));
  bench.on_first_metric = [&] { bench.control.Request(Interrupt::kStop); };
  CHECK(Released(bench.RunCommand(absl::StrFormat("trap '' TERM; %s while :; do sleep 0.01; done", kReady)))
            .message.find("SIGTERM") != std::string::npos);
}

TEST_CASE("after a lost lease nothing is said, whatever the trainer says") {
  Bench bench;
  bench.on_first_metric = [&] { bench.control.Request(Interrupt::kLeaseLost); };
  const AttemptOutcome outcome = bench.RunCommand(absl::StrFormat(
      "trap '%s; exit 0' TERM; %s while :; do sleep 0.01; done",
      R"(echo "{\"type\": \"result\", \"values\": {\"validation/accuracy\": 1}}" >&3)", kReady));
  CHECK(std::holds_alternative<AbandonedOutcome>(outcome));
}

TEST_CASE("trial files of a killed process are removed at the start, and nothing else") {
  const Scratch scratch;
  for (const char* name : {"trial-1-2-0-0-1.json", "trial-1-2-0-0-1.txt", "spool", "points"}) {
    REQUIRE(WriteFileAtomic(scratch.path(name), "{}").ok());
  }
  SystemClock clock;
  Log log("test", clock);
  TrainerOptions options;
  options.scratch_directory = scratch.root();
  const TrainerProcess trainer(options, MemoryEvents(), clock, log);
  CHECK_FALSE(std::filesystem::exists(scratch.path("trial-1-2-0-0-1.json")));
  for (const char* name : {"trial-1-2-0-0-1.txt", "spool", "points"}) {
    CHECK(std::filesystem::exists(scratch.path(name)));
  }
}

TEST_CASE("no process of an attempt outlives it") {
  Bench bench;
  const std::string pid_file = bench.scratch.path("pid");
  const AttemptOutcome outcome =
      bench.RunCommand(absl::StrFormat("sleep 600 & echo $! > %s; %s", pid_file, kGoodResult));
  REQUIRE(std::holds_alternative<ResultValues>(outcome));
  const pid_t pid = std::stoi(*ReadFile(pid_file));
  CHECK(DiesSoon(pid));
}

TEST_CASE("a program that cannot be started here is left to other workers, blames no config and says why") {
  Bench bench;
  v1::Attempt attempt = CommandAttempt(bench.scratch, 1, "");
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  const std::string no_program = bench.scratch.Script("no-program", "plain text");
  const std::string no_right = bench.scratch.path("no-right");
  REQUIRE(WriteFileAtomic(no_right, "#!/bin/sh\n").ok());
  for (const std::string& program :
       {std::string("no-such-program-of-rung"), std::string("/no/such/program"), no_program, no_right}) {
    study["trainer"]["argv"] = {program};
    attempt.set_study_json(study.dump());
    const ReleasedOutcome released = Released(bench.Run(attempt));
    CHECK(released.reason == LossReason::kReleased);
    CHECK(released.data_unreadable);
    CHECK_THAT(released.message, Catch::Contains(program));
  }
  study["trainer"]["argv"] = {"/bin/true"};
  study["trainer"]["cwd"] = "/no/such/directory";
  attempt.set_study_json(study.dump());
  const ReleasedOutcome nowhere = Released(bench.Run(attempt));
  CHECK(nowhere.data_unreadable);
  CHECK_THAT(nowhere.message, Catch::Contains("/no/such/directory"));
}

TEST_CASE("a script that is not there, or no longer, is no config's fault") {
  Bench bench;
  v1::Attempt attempt = CommandAttempt(bench.scratch, 1, "");
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  study["trainer"]["argv"] = {"/bin/sh", "-e", "train.sh", "lr.py"};
  study["trainer"]["cwd"] = bench.scratch.root();
  attempt.set_study_json(study.dump());
  const auto said = [&](const char* script) {
    if (script != nullptr) REQUIRE(WriteFileAtomic(bench.scratch.path("train.sh"), script).ok());
    return bench.Run(attempt);
  };
  for (const char* script : {static_cast<const char*>(nullptr), "rm train.sh; exit 1\n"}) {
    const ReleasedOutcome released = Released(said(script));
    CHECK(released.reason == LossReason::kReleased);
    CHECK(released.data_unreadable);
    CHECK_THAT(released.message, Catch::StartsWith("there is no script " + bench.scratch.path("train.sh")));
  }
  CHECK(Failed(said("exit 1\n")).cause == FailureCause::kCrash);
}

TEST_CASE("a program that cannot be started at this moment is tried again") {
  Bench bench;
  bench.scratch.Script("trainer", "#!/bin/sh\n");
  const Descriptor written(
      open(bench.scratch.path("trainer").c_str(), O_WRONLY | O_CLOEXEC));  // "text file busy"
  REQUIRE(written.get() >= 0);
  v1::Attempt command = CommandAttempt(bench.scratch, 1, "");
  nlohmann::json study = nlohmann::json::parse(command.study_json());
  study["trainer"]["argv"] = {bench.scratch.path("trainer")};
  command.set_study_json(study.dump());
  for (const v1::Attempt& attempt : {command, BuiltInAttempt(bench.scratch, 2)}) {
    const ReleasedOutcome released = Released(bench.Run(attempt));
    CHECK(released.reason == LossReason::kKilled);
    CHECK_FALSE(released.data_unreadable);
    CHECK(released.worker_unfit.ok());
  }
}

TEST_CASE("a rung-trainer that does not start makes its worker unfit") {
  Bench bench;
  // A missing rung-trainer is this worker's fault and blames no config.
  const ReleasedOutcome missing = Released(bench.Run(BuiltInAttempt(bench.scratch, 2)));
  CHECK(missing.reason == LossReason::kKilled);
  CHECK(GetErrorDetail(missing.worker_unfit)->code == "E0727");
  // So is one that the loader does not start; one that ends so after a word is another matter.
  bench.scratch.Script("trainer", "#!/bin/sh\necho 'no libtorch.so' >&2\nexit 127\n");
  const ReleasedOutcome unloaded = Released(bench.Run(BuiltInAttempt(bench.scratch, 2)));
  CHECK(unloaded.reason == LossReason::kKilled);
  CHECK_THAT(std::string(unloaded.worker_unfit.message()), Catch::Contains("no libtorch.so"));
  bench.scratch.Script("trainer", R"(#!/bin/sh
read -r path
echo '{"type": "metric", "step": 1, "budget": 1, "values": {"train/loss": 1}}' >&3
exit 127
)");
  CHECK(Failed(bench.Run(BuiltInAttempt(bench.scratch, 2))).cause == FailureCause::kCrash);
}

// Plays rung-trainer: answers each path with a result that holds its own pid.
constexpr char kWarmTrainer[] = R"(#!/bin/sh
trap 'exit 85' TERM
trap 'touch "$(dirname "$0")/asked"' USR1
while read -r path; do
  echo "log of $path"
  case "$path" in
    *-2-*) echo '{"type": "failed", "cause": "diverged", "message": "nan"}' >&3;;
    *-4-*) kill -SEGV $$;;
    *) echo "{\"type\": \"result\", \"values\": {\"validation/accuracy\": 1, \"pid\": $$}}" >&3;;
  esac
done
)";

TEST_CASE("the built-in trainer stays warm and is replaced after a failure") {
  Bench bench;
  bench.scratch.Script("trainer", kWarmTrainer);
  const auto pid = [&](int64_t trial) {
    const AttemptOutcome outcome = bench.Run(BuiltInAttempt(bench.scratch, trial));
    REQUIRE(std::holds_alternative<ResultValues>(outcome));
    return std::get<ResultValues>(outcome).values.at("pid");
  };
  const double first = pid(1);
  CHECK(pid(11) == first);
  CHECK(Failed(bench.Run(BuiltInAttempt(bench.scratch, 2))).cause == FailureCause::kDiverged);
  const double second = pid(3);
  CHECK(second != first);
  CHECK(Failed(bench.Run(BuiltInAttempt(bench.scratch, 4))).message.find("SIGSEGV") != std::string::npos);
  CHECK(pid(5) != second);
  // Dead while it waited: the next attempt gets a new one and is not blamed.
  const double third = pid(6);
  kill(static_cast<pid_t>(third), SIGKILL);
  REQUIRE(DiesSoon(static_cast<pid_t>(third)));
  CHECK(pid(7) != third);
  CHECK(ReadFile(bench.scratch.path("logs/7.log"))->find("trial-1-7-") != std::string::npos);
}

TEST_CASE("a checkpoint request is SIGUSR1 to the built-in trainer") {
  Bench bench;
  bench.scratch.Script("trainer", R"(#!/bin/sh
trap 'echo "{\"type\": \"checkpoint\", \"budget\": 1, \"path\": \"now\"}" >&3; asked=1' USR1
read -r path
echo '{"type": "metric", "step": 1, "budget": 1, "values": {}}' >&3
while [ -z "$asked" ]; do sleep 0.01; done
echo '{"type": "result", "values": {"validation/accuracy": 1}}' >&3
)");
  bench.on_first_metric = [&] { bench.control.RequestCheckpoint(); };
  CHECK(std::holds_alternative<ResultValues>(bench.Run(BuiltInAttempt(bench.scratch, 1))));
  REQUIRE(bench.seen.checkpoints.size() == 1);
  CHECK(bench.seen.checkpoints[0].path == "now");
}

TEST_CASE("other bytes in a data file are found, also after an earlier look") {
  const Scratch scratch;
  const std::string path = scratch.path("train.csv");
  REQUIRE(WriteFileAtomic(path, "sentence,label\n").ok());
  v1::Attempt attempt;
  (*attempt.mutable_data_sha256())[path] = Sha256Hex("sentence,label\n");
  DataCheck check;
  CHECK(check.Verify(attempt).ok());
  CHECK(check.Verify(attempt).ok());
  REQUIRE(WriteFileAtomic(path, "sentence,label\nx,1\n").ok());
  CHECK(check.Verify(attempt).code() == absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(path);
  CHECK(check.Verify(attempt).code() == absl::StatusCode::kUnavailable);  // here; perhaps not elsewhere
  REQUIRE(MakeDirectories(path).ok());                                    // can be seen and not be read
  CHECK(check.Verify(attempt).code() == absl::StatusCode::kUnavailable);
}

// The study's own limit on one attempt, in seconds.
v1::Attempt Limited(const Scratch& scratch, const nlohmann::json& limit, const std::string& shell_text) {
  v1::Attempt attempt = CommandAttempt(scratch, 1, shell_text);
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  study["trainer"]["time_limit"] = limit;
  attempt.set_study_json(study.dump());
  return attempt;
}

TEST_CASE(
    "an attempt that runs longer than its limit is the config's failure, whatever it does about SIGTERM") {
  for (const char* text : {"sleep 600", "trap 'exit 85' TERM; while :; do sleep 0.01; done",
                           "trap '' TERM; while :; do sleep 0.01; done"}) {
    Bench bench(absl::Milliseconds(100));
    const FailedOutcome failed = Failed(bench.Run(Limited(bench.scratch, 0.05, text)));
    CHECK(failed.cause == FailureCause::kCrash);
    CHECK_THAT(failed.message, Catch::Contains("longer than its limit of 50ms"));
  }
}

TEST_CASE("a result that comes when the limit has passed still counts") {
  Bench bench;
  const AttemptOutcome outcome = bench.Run(Limited(
      bench.scratch, "50ms",
      absl::StrFormat("trap '%s; exit 0' TERM; while :; do sleep 0.01; done",
                      R"(echo "{\"type\": \"result\", \"values\": {\"validation/accuracy\": 1}}" >&3)")));
  CHECK(std::holds_alternative<ResultValues>(outcome));
}

TEST_CASE("the trial file tells the limit") {
  const Scratch scratch;
  v1::Attempt attempt = Limited(scratch, "30m", "true");
  const auto deadline = [&] {
    return nlohmann::json::parse(PlanAttempt(attempt)->trial_json)["deadline_seconds"];
  };
  CHECK(deadline() == 1800);
  attempt = CommandAttempt(scratch, 1, "true");
  CHECK(deadline().is_null());
  CHECK(PlanAttempt(attempt)->time_limit == absl::InfiniteDuration());
}

TEST_CASE("a stop before the limit blames no config") {
  Bench bench;
  bench.on_first_metric = [&] { bench.control.Request(Interrupt::kDrain); };
  Released(bench.Run(Limited(bench.scratch, "10m", std::string(kReady) + "sleep 600")));
}

}  // namespace
}  // namespace rung
