#include "worker/agent.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <tuple>

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "tests/worker/fake_coordinator.h"
#include "tests/worker/scratch.h"

namespace rung {
namespace {

// An agent on a thread of its own, as rung-worker wires it.
class RunningAgent {
 public:
  RunningAgent(const Scratch& scratch, const StateDir& dir,
               const std::function<void(AgentOptions&)>& change = nullptr)
      : log_("test", clock_) {
    RUNG_CHECK(log_.OpenFile(scratch.path("agent.log")).ok(), "the log opens");
    AgentOptions options;
    options.link.dir = dir;
    options.link.identity = {"0", "instance-of-the-test", "cpu", ""};
    options.link.first_wait = absl::Seconds(10);
    options.trainer.scratch_directory = scratch.root();
    options.trainer.trainer_path = scratch.path("trainer");
    options.spool_path = scratch.path("spool");
    options.link.points_path = scratch.path("points");
    options.exit_when_done = true;
    if (change) change(options);
    agent_ = std::make_unique<Agent>(options, MemoryEvents(), clock_, log_);
    thread_ = std::thread([this] { status_ = agent_->Run(); });
  }
  ~RunningAgent() {
    if (thread_.joinable()) {
      agent_->Drain();
      thread_.join();
    }
  }
  absl::Status Join() {
    thread_.join();
    return status_;
  }
  void Drain() { agent_->Drain(); }
  void DrainBeforeJobEnd() { agent_->DrainBeforeJobEnd(); }
  bool left_for_job_end() const { return agent_->left_for_job_end(); }

 private:
  SystemClock clock_;
  Log log_;
  std::unique_ptr<Agent> agent_;
  absl::Status status_;
  std::thread thread_;
};

// Runs until the file named `go` exists, then gives a result.
std::string UntilFile(const Scratch& scratch, const std::string& go) {
  return absl::StrFormat("while [ ! -e %s ]; do sleep 0.01; done; %s", scratch.path(go), kGoodResult);
}

bool Names(const v1::ProgressRequest& message, int64_t trial) {
  return message.has_attempt() && message.attempt().trial() == trial;
}

TEST_CASE("attempts run one after the other and the next one comes with the report's answer") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  for (int64_t trial = 1; trial <= 3; ++trial) coordinator.Grant(CommandAttempt(scratch, trial, kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1", "report 2", "report 3"});
  CHECK(coordinator.leases.size() == 2);  // the first attempt, and the answer that all is done
  const v1::ReportRequest& report = coordinator.reports[0];
  CHECK(report.worker() == "host-0");
  CHECK(report.instance() == "instance-of-the-test");
  REQUIRE(report.result().values_size() == 1);
  CHECK(report.result().values(0).name() == "validation/accuracy");
  CHECK(report.result().values(0).value() == 0.75);
  CHECK(report.result().charged() == 3);
  CHECK(report.result().device_seconds() > 0);
  CHECK(coordinator.registrations[0].process().pid() == getpid());
}

TEST_CASE("last words that are not UTF-8, or are cut inside a character, arrive") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, "printf 'caf\\351' >&2; exit 1"));
  coordinator.Grant(CommandAttempt(
      scratch, 2, "for i in $(seq 1500); do printf '\\303\\251'; done >&2; printf x >&2; exit 1"));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1", "report 2"});
  REQUIRE(coordinator.reports.size() == 2);
  CHECK(coordinator.reports[0].failure().message().find("caf\xEF\xBF\xBD") != std::string::npos);
}

TEST_CASE("heartbeats name the running attempt, points and checkpoints arrive in order") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, R"(
    echo '{"type": "metric", "step": 1, "budget": 0.5, "values": {"train/loss": 2}}' >&3
    echo '{"type": "metric", "step": 2, "budget": 1, "values": {"train/loss": null}}' >&3
    echo '{"type": "checkpoint", "budget": 1, "path": "c"}' >&3
    )" + UntilFile(scratch, "go")));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] {
    return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                       [](const auto& message) { return message.checkpointed(); });
  }));
  coordinator.Do(
      [&] { coordinator.progress.erase(coordinator.progress.begin(), coordinator.progress.end() - 1); });
  const auto heartbeats = [&] {
    return std::count_if(coordinator.progress.begin() + 1, coordinator.progress.end(),
                         [](const auto& message) { return Names(message, 1) && message.points_size() == 0; });
  };
  REQUIRE(coordinator.WaitUntil([&] { return heartbeats() >= 3; }));
  REQUIRE(WriteFileAtomic(scratch.path("go"), "").ok());
  REQUIRE(agent.Join().ok());
  const v1::ProgressRequest& last = coordinator.progress.back();
  CHECK(last.budget() == 1);
  REQUIRE(coordinator.reports.size() == 1);
  CHECK(coordinator.reports[0].checkpoint_budget() == 1);  // it may overtake the message of the checkpoint
}

TEST_CASE("what a stream lost is sent again on the next one") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.acknowledge = false;
  coordinator.Grant(CommandAttempt(scratch, 1, R"(
    echo '{"type": "metric", "step": 1, "budget": 0.5, "values": {"train/loss": 2}}' >&3
    echo '{"type": "checkpoint", "budget": 1, "path": "c"}' >&3
    )" + UntilFile(scratch, "go")));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  const auto has_both = [&] {
    const auto& seen = coordinator.progress;
    return std::any_of(seen.begin(), seen.end(),
                       [](const auto& message) { return message.points_size() == 1; }) &&
           std::any_of(seen.begin(), seen.end(), [](const auto& message) { return message.checkpointed(); });
  };
  REQUIRE(coordinator.WaitUntil(has_both));
  coordinator.Stop();
  coordinator.Do([&] {
    coordinator.progress.clear();
    coordinator.acknowledge = true;
  });
  coordinator.Start(2);
  CHECK(coordinator.WaitUntil(has_both));
  coordinator.Do([&] { CHECK(coordinator.progress.front().seq() == 1); });
  REQUIRE(WriteFileAtomic(scratch.path("go"), "").ok());
  REQUIRE(agent.Join().ok());
}

TEST_CASE("a worker goes on training through an outage and its result is spooled and delivered") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_WAIT;
  coordinator.Grant(
      CommandAttempt(scratch, 1, UntilFile(scratch, "go") + "; touch " + scratch.path("trained")));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] {
    return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                       [](const auto& message) { return Names(message, 1); });
  }));
  coordinator.Stop();
  REQUIRE(WriteFileAtomic(scratch.path("go"), "").ok());
  // The spool file is there before anybody answers.
  for (int i = 0; i < 20'000'000 && Spool::Open(scratch.path("spool"))->reports().empty(); ++i) {
    std::this_thread::yield();
  }
  REQUIRE(Spool::Open(scratch.path("spool"))->reports().size() == 1);
  CHECK(std::filesystem::exists(scratch.path("trained")));
  coordinator.Do([&] { coordinator.idle = v1::IDLE_REASON_STUDY_DONE; });
  coordinator.Start(2);
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "register", "report 1"});
  CHECK(Spool::Open(scratch.path("spool"))->reports().empty());
  CHECK(coordinator.releases.empty());
}

TEST_CASE("a report whose answer was lost is sent again under the same request id") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.report_answers = {grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost")};
  coordinator.lease_answers = {grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost")};
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  REQUIRE(coordinator.reports.size() == 2);
  CHECK(coordinator.reports[0].SerializeAsString() == coordinator.reports[1].SerializeAsString());
  CHECK(coordinator.leases.size() == 3);  // for the attempt twice, and for the end
  CHECK(Spool::Open(scratch.path("spool"))->reports().empty());
}

TEST_CASE("a report that a newer attempt overtook is dropped") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.report_answers = {grpc::Status(grpc::StatusCode::ABORTED, "a newer attempt holds the job")};
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1", "report 2"});
}

TEST_CASE("a lost lease ends the attempt without a word") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.command = v1::COMMAND_LEASE_LOST;
  coordinator.Grant(CommandAttempt(scratch, 1, "sleep 600"));
  coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 2"});
}

TEST_CASE("a stopped attempt is released and the worker goes on") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.command = v1::COMMAND_STOP;
  coordinator.Grant(CommandAttempt(
      scratch, 1,
      R"(trap 'echo "{\"type\": \"checkpoint\", \"budget\": 0.75, \"path\": \"a\"}" >&$RUNG_METRICS_FD; exit 85' TERM
         while :; do sleep 0.01; done)"));
  coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1", "report 2"});
  CHECK(coordinator.releases[0].checkpoint_budget() == 0.75);
  CHECK(coordinator.releases[0].reason() == v1::LOSS_REASON_RELEASED);
}

TEST_CASE("a drain checkpoints, releases and ends, whoever asks for it") {
  for (const bool by_coordinator : {true, false}) {
    const Scratch scratch;
    FakeCoordinator coordinator(scratch);
    if (by_coordinator) coordinator.command = v1::COMMAND_DRAIN;
    coordinator.Grant(CommandAttempt(
        scratch, 1,
        absl::StrFormat("trap 'echo saved > %s; exit 85' TERM; touch %s; while :; do sleep 0.01; done",
                        scratch.path("saved"), scratch.path("running"))));
    coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
    coordinator.Start(1);
    RunningAgent agent(scratch, coordinator.dir());
    if (!by_coordinator) {
      REQUIRE(coordinator.WaitUntil([&] { return std::filesystem::exists(scratch.path("running")); }));
      agent.Drain();
    }
    REQUIRE(agent.Join().ok());
    CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1"});
  }
}

TEST_CASE("a drain ends a worker that waits for work at once") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_WAIT;
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] { return !coordinator.leases.empty(); }));
  agent.Drain();
  CHECK(agent.Join().ok());
}

TEST_CASE("a new process delivers what the old one left, before it registers") {
  const Scratch scratch;
  v1::ReportRequest left;
  left.set_worker("host-0");
  left.set_instance("the-one-before");
  left.set_request_id("the-one-before-7");
  left.set_want_next(true);
  left.mutable_attempt()->set_trial(9);
  left.mutable_result()->set_charged(1);
  REQUIRE(Spool::Open(scratch.path("spool"))->Add(left).ok());
  FakeCoordinator coordinator(scratch);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"report 9", "register"});
  CHECK(coordinator.reports[0].instance() == "the-one-before");
  CHECK(coordinator.reports[0].request_id() == "the-one-before-7");
  CHECK(Spool::Open(scratch.path("spool"))->reports().empty());
}

TEST_CASE("a coordinator that ends while it hears what was left is followed by one that hears it") {
  const Scratch scratch;
  v1::ReportRequest left;
  left.set_request_id("the-one-before-7");
  left.mutable_attempt()->set_trial(9);
  left.mutable_result()->set_charged(1);
  REQUIRE(Spool::Open(scratch.path("spool"))->Add(left).ok());
  v1::ProgressRequest point;
  point.set_instance("the-one-before");
  point.mutable_attempt()->set_trial(9);
  point.add_points()->set_step(1);
  REQUIRE(PointJournal(scratch.path("points")).Add(point).ok());
  FakeCoordinator coordinator(scratch);
  coordinator.streams_to_break = 1;
  coordinator.report_answers = {{grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"}};
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  // The points first, then twice the report, and only then the registration that ends the older leases.
  CHECK(coordinator.calls == std::vector<std::string>{"report 9", "report 9", "register"});
  REQUIRE(!coordinator.progress.empty());
  CHECK(coordinator.progress[0].instance() == "the-one-before");
  CHECK(coordinator.progress[0].points_size() == 1);
  CHECK(Spool::Open(scratch.path("spool"))->reports().empty());
  CHECK(!std::filesystem::exists(scratch.path("points")));
}

TEST_CASE("a spool that cannot be rewritten does not end a worker whose report was accepted") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  const std::string directory = scratch.path("journals");
  REQUIRE(MakeDirectories(directory).ok());
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
  coordinator.report_answers = {{grpc::StatusCode::UNAVAILABLE, "not yet"}};
  coordinator.on_report = [&] {
    if (coordinator.reports.size() == 1) std::filesystem::rename(directory, scratch.path("away"));
  };
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(),
                     [&](AgentOptions& options) { options.spool_path = directory + "/spool"; });
  CHECK(agent.Join().ok());
  CHECK(coordinator.calls ==
        std::vector<std::string>{"register", "report 1", "register", "report 1", "report 2"});
}

TEST_CASE("points behind a torn record are found again") {
  const Scratch scratch;
  const std::string path = scratch.path("points");
  v1::ProgressRequest message;
  message.set_worker(std::string(100, 'w'));
  const auto steps = [&path] {
    std::vector<int64_t> found;
    const PointJournal reader(path);
    for (const v1::ProgressRequest& left : reader.left()) found.push_back(left.step());
    return found;
  };
  PointJournal journal(path);
  message.set_step(1);
  REQUIRE(journal.Add(message).ok());
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit full = before;
  full.rlim_cur = std::filesystem::file_size(path) + 20;  // half a record more
  std::ignore = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &full);
  message.set_step(2);
  const absl::Status refused = journal.Add(message);
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK_FALSE(refused.ok());
  message.set_step(3);
  REQUIRE(journal.Add(message).ok());
  CHECK(steps() == std::vector<int64_t>{1, 3});
  // The end of a process that died in the middle.
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  PointJournal next(path);
  message.set_step(4);
  REQUIRE(next.Add(message).ok());
  CHECK(steps() == std::vector<int64_t>{1, 4});
  REQUIRE(next.Replace({message}).ok());
  CHECK(steps() == std::vector<int64_t>{4});
}

int CountPoints(const FakeCoordinator& coordinator) {
  int points = 0;
  for (const v1::ProgressRequest& message : coordinator.progress) points += message.points_size();
  return points;
}

TEST_CASE("points of an outage are on disk, and gone from it when they are acknowledged") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(
      scratch, 1, absl::StrFormat("while [ ! -e %s ]; do sleep 0.01; done; ", scratch.path("outage")) + R"(
    for i in 1 2 3; do echo '{"type": "metric", "step": '$i', "budget": 1, "values": {"train/loss": 2}}' >&3; done
    )" + UntilFile(scratch, "go")));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] {
    return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                       [](const auto& message) { return Names(message, 1); });
  }));
  coordinator.Stop();
  REQUIRE(WriteFileAtomic(scratch.path("outage"), "").ok());
  for (int i = 0; i < 20'000'000 && PointJournal(scratch.path("points")).left().size() < 3; ++i) {
    std::this_thread::yield();
  }
  const PointJournal journal(scratch.path("points"));
  REQUIRE(journal.left().size() == 3);
  CHECK(journal.left()[0].worker() == "host-0");
  CHECK(journal.left()[0].instance() == "instance-of-the-test");
  CHECK(journal.left()[2].points(0).step() == 3);
  coordinator.Start(2);
  CHECK(coordinator.WaitUntil([&] { return CountPoints(coordinator) == 3; }));
  REQUIRE(WriteFileAtomic(scratch.path("go"), "").ok());
  REQUIRE(agent.Join().ok());
  CHECK(!std::filesystem::exists(scratch.path("points")));
}

TEST_CASE("a new process says what the old one left, in its name, before it registers") {
  const Scratch scratch;
  {
    PointJournal journal(scratch.path("points"));
    v1::ProgressRequest left;
    left.set_worker("host-0");
    left.set_instance("the-one-before");
    left.mutable_attempt()->set_trial(9);
    for (int64_t step = 1; step <= 300; ++step) {
      left.clear_points();
      left.set_step(step);
      left.add_points()->set_step(step);
      REQUIRE(journal.Add(left).ok());
    }
  }
  {
    std::ofstream torn(scratch.path("points"), std::ios::app);
    torn << "RUNGSPL1000000ff";
  }
  FakeCoordinator coordinator(scratch);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(CountPoints(coordinator) == 300);
  REQUIRE(coordinator.progress.size() >= 2);
  CHECK(coordinator.progress[0].instance() == "the-one-before");
  CHECK(coordinator.progress[0].points_size() == kMaxPointsPerMessage);
  CHECK(coordinator.progress[1].points(coordinator.progress[1].points_size() - 1).step() == 300);
  CHECK(!std::filesystem::exists(scratch.path("points")));
}

TEST_CASE("all points are acknowledged before the report ends the lease") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  std::string text;
  for (int step = 1; step <= 50; ++step) {
    text += absl::StrFormat(
        R"(echo '{"type": "metric", "step": %d, "budget": 1, "values": {"train/loss": 2}}' >&3; )", step);
  }
  int points_at_report = -1;
  coordinator.on_report = [&] { points_at_report = CountPoints(coordinator); };
  coordinator.Grant(CommandAttempt(scratch, 1, text + kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(points_at_report == 50);
}

TEST_CASE("a trainer that talks without end is told of in part, and its last point is there") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  int points = -1;
  int64_t last_step = 0;
  coordinator.on_report = [&] {
    points = CountPoints(coordinator);
    for (const v1::ProgressRequest& message : coordinator.progress) {
      for (const v1::MetricPoint& point : message.points()) last_step = std::max(last_step, point.step());
    }
  };
  coordinator.Grant(CommandAttempt(scratch, 1, std::string(R"(
    for i in $(seq 3000); do echo '{"type": "metric", "step": '$i', "budget": 1, "values": {"train/loss": 2}}'; done >&3
    )") + kGoodResult));
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(points >= 100);
  CHECK(points < 3000);
  CHECK(last_step == 3000);
}

TEST_CASE("a full journal of points keeps what it has") {
  const Scratch scratch;
  PointJournal journal(scratch.path("points"));
  v1::ProgressRequest message;
  message.mutable_points()->Add()->mutable_metric()->set_name(std::string(1 << 20, 'x'));
  for (int i = 0; i < 18; ++i) REQUIRE(journal.Add(message).ok());
  CHECK(journal.full());
  CHECK(PointJournal(scratch.path("points")).left().size() == 16);
  REQUIRE(journal.Replace(std::vector<v1::ProgressRequest>(20, message)).ok());
  CHECK(PointJournal(scratch.path("points")).left().size() == 16);
  journal.Clear();
  CHECK(!std::filesystem::exists(scratch.path("points")));
}

// A resume directory as rung-trainer leaves it.
void WriteResumePoint(const std::string& directory) {
  std::filesystem::create_directories(directory + "/update-00000004");
  REQUIRE(WriteFileAtomic(directory + "/update-00000004/manifest.json", "{}").ok());
}

TEST_CASE("a checkpoint that another node wrote is waited for") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  // Plays rung-trainer: reads one path, writes one result.
  scratch.Script("trainer", std::string("#!/bin/sh\nread path\n") + kGoodResult + "\nread end\n");
  v1::Attempt attempt = BuiltInAttempt(scratch, 1);
  attempt.set_resume_dir(scratch.path("resume"));
  std::filesystem::create_directories(scratch.path("resume/update-00000004"));  // no manifest yet
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] {
    return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                       [](const auto& message) { return Names(message, 1); });
  }));
  coordinator.Do([&] { CHECK(coordinator.reports.empty()); });
  WriteResumePoint(scratch.path("resume"));
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1"});
}

TEST_CASE("a checkpoint that never shows is given back once, then trained anew; an evaluation never starts") {
  for (const bool evaluates : {false, true}) {
    const Scratch scratch;
    FakeCoordinator coordinator(scratch);
    v1::Attempt attempt = CommandAttempt(
        scratch, 1, std::string("grep -q '\"resume_dir\": null' $RUNG_TRIAL_FILE || exit 9; ") + kGoodResult);
    attempt.set_resume_dir(scratch.path("nowhere"));
    if (evaluates) attempt.mutable_key()->set_kind(v1::ATTEMPT_KIND_EVALUATE);
    coordinator.Grant(attempt);
    attempt.mutable_key()->set_attempt(2);
    coordinator.Grant(attempt);
    coordinator.Start(1);
    RunningAgent agent(scratch, coordinator.dir(),
                       [](AgentOptions& options) { options.resume_patience = absl::Milliseconds(300); });
    REQUIRE(agent.Join().ok());
    CHECK(coordinator.calls ==
          std::vector<std::string>{"register", "release 1", evaluates ? "release 1" : "report 1"});
    // What every worker does once must not use up a trial's losses; it ends an evaluation.
    CHECK(coordinator.releases[0].reason() ==
          (evaluates ? v1::LOSS_REASON_KILLED : v1::LOSS_REASON_RELEASED));
    CHECK_THAT(coordinator.releases[0].message(),
               Catch::Contains("cannot be seen from here") && Catch::Contains("nowhere"));
  }
}

TEST_CASE("a checkpoint that is not there on a disk of this host is gone: nobody else is asked for it") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  v1::Attempt attempt = CommandAttempt(
      scratch, 1, std::string("grep -q '\"resume_dir\": null' $RUNG_TRIAL_FILE || exit 9; ") + kGoodResult);
  attempt.set_resume_dir(scratch.path("nowhere"));
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(),
                     [](AgentOptions& options) { options.resume_patience = absl::ZeroDuration(); });
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1"});
  CHECK(coordinator.reports[0].has_result());
}

TEST_CASE("a command that left no checkpoint starts anew at the next rung, and is charged all of it") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  v1::Attempt attempt = CommandAttempt(scratch, 1,
                                       std::string("grep -q '\"resume_dir\": null' $RUNG_TRIAL_FILE && "
                                                   "grep -q '\"from\": 0' $RUNG_TRIAL_FILE || exit 9; ") +
                                           kGoodResult);
  attempt.set_resume_dir(scratch.path("resume"));
  attempt.set_budget_from(1);
  std::filesystem::create_directories(scratch.path("resume"));
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "report 1"});
  CHECK(coordinator.reports[0].result().charged() == 3);
}

TEST_CASE("a drain ends the wait for a checkpoint") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  v1::Attempt attempt = CommandAttempt(scratch, 1, kGoodResult);
  attempt.set_resume_dir(scratch.path("nowhere"));
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(coordinator.WaitUntil([&] {
    return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                       [](const auto& message) { return Names(message, 1); });
  }));
  agent.Drain();
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1"});
}

// The time that a job has left, set by the test.
struct FakeJob {
  std::atomic<int64_t> left_ms{absl::ToInt64Milliseconds(absl::Hours(1))};
  std::function<void(AgentOptions&)> Change() {
    return [this](AgentOptions& options) {
      options.job_time_left = [this] { return absl::Milliseconds(left_ms.load()); };
    };
  }
};

bool SaysLeaving(const FakeCoordinator& coordinator) {
  return std::any_of(coordinator.progress.begin(), coordinator.progress.end(),
                     [](const auto& message) { return !message.leaving().empty(); });
}

TEST_CASE("a worker whose job has no time for a first checkpoint asks for no work and says so") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Start(1);
  FakeJob job;
  job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin + kFirstCheckpoint - absl::Seconds(1));
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  REQUIRE(agent.Join().ok());
  CHECK(agent.left_for_job_end());
  CHECK(coordinator.calls == std::vector<std::string>{"register"});
  CHECK(coordinator.leases.empty());
  CHECK(SaysLeaving(coordinator));
}

TEST_CASE("a start with no more time than one that came to no checkpoint begins nothing") {
  const Scratch scratch;
  const std::string in_vain = scratch.path("in_vain_seconds");
  const auto started_with = [&](absl::Duration time, FakeCoordinator& coordinator) {
    FakeJob job;
    job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin + time);
    RunningAgent agent(scratch, coordinator.dir(), [&](AgentOptions& options) {
      job.Change()(options);
      options.in_vain_path = in_vain;
    });
    REQUIRE(agent.Join().ok());
  };
  REQUIRE(WriteFileAtomic(in_vain, "100\n").ok());
  {
    FakeCoordinator coordinator(scratch);
    coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
    coordinator.Start(1);
    started_with(absl::Seconds(149), coordinator);
    CHECK(coordinator.leases.empty());
    CHECK(*ReadFile(in_vain) == "100\n");
  }
  // More time is worth a try; what it shows counts from then on.
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Start(2);
  started_with(absl::Seconds(200), coordinator);
  CHECK(coordinator.reports.size() == 1);
  CHECK(!ReadFile(in_vain).ok());
}

TEST_CASE("how long an attempt ran in vain before its job's end is kept for the next start") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, "touch " + scratch.path("begun") + "; exec sleep 60"));
  coordinator.Start(1);
  FakeJob job;
  RunningAgent agent(scratch, coordinator.dir(), [&](AgentOptions& options) {
    job.Change()(options);
    options.in_vain_path = scratch.path("in_vain_seconds");
  });
  REQUIRE(coordinator.WaitUntil([&] { return ReadFile(scratch.path("begun")).ok(); }));
  agent.DrainBeforeJobEnd();
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1"});
  const auto kept = ReadFile(scratch.path("in_vain_seconds"));
  REQUIRE(kept.ok());
  CHECK(std::stod(*kept) > 0);
}

TEST_CASE("what attempts needed for their first checkpoint decides whether another one is begun") {
  for (const bool quick : {true, false}) {
    const Scratch scratch;
    FakeCoordinator coordinator(scratch);
    // Its first checkpoint comes at its end, as fast as it can or never fast enough for one more.
    coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
    coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
    coordinator.Start(1);
    FakeJob job;
    coordinator.on_report = [&] {
      if (coordinator.reports.empty())
        job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin) + (quick ? 600'000 : 0);
    };
    RunningAgent agent(scratch, coordinator.dir(), job.Change());
    REQUIRE(agent.Join().ok());
    CHECK(coordinator.reports[0].want_next());
    // The time that the report took is over: what came with its answer is given back.
    CHECK(coordinator.calls ==
          std::vector<std::string>{"register", "report 1", quick ? "report 2" : "release 2"});
    CHECK(agent.left_for_job_end() == !quick);
    if (!quick) CHECK(SaysLeaving(coordinator));
  }
}

TEST_CASE("an attempt that comes when there is no time for it any more is given back") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_WAIT;
  coordinator.Start(1);
  FakeJob job;
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  REQUIRE(coordinator.WaitUntil([&] { return !coordinator.leases.empty(); }));
  job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin + kFirstCheckpoint - absl::Seconds(1));
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1"});
  CHECK(coordinator.releases[0].reason() == v1::LOSS_REASON_RELEASED);
  CHECK(agent.left_for_job_end());
}

TEST_CASE("an attempt that comes with the late answer to a spooled report is given back") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(scratch, 1, kGoodResult));
  coordinator.Grant(CommandAttempt(scratch, 2, kGoodResult));
  FakeJob job;
  coordinator.report_answers = {{grpc::StatusCode::UNAVAILABLE, "not yet"}};
  coordinator.on_report = [&] {
    if (coordinator.reports.size() == 1) job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin);
  };
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.reports.back().want_next());  // the same bytes as the first time, when there was time
  CHECK(coordinator.calls.back() == "release 2");
}

TEST_CASE("work is waited for no longer than there is time for it") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Start(1);
  FakeJob job;
  job.left_ms = absl::ToInt64Milliseconds(kLeaveMargin + kFirstCheckpoint + absl::Seconds(5));
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.leases.at(0).wait_seconds() == 5);
  CHECK(!coordinator.leases.at(0).leaves_if_surplus());  // nothing says when it may
}

TEST_CASE("a worker leaves when it had no work for long") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_PAUSED;
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(),
                     [](AgentOptions& options) { options.idle_exit = absl::Milliseconds(1); });
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.calls == std::vector<std::string>{"register"});
  CHECK(!coordinator.leases.empty());
  CHECK(coordinator.leases[0].wait_seconds() <= 0.001);
  CHECK(!agent.left_for_job_end());
}

TEST_CASE("a worker leaves when there was no coordinator, and so no work, for long") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_PAUSED;
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(),
                     [](AgentOptions& options) { options.idle_exit = absl::Seconds(1); });
  REQUIRE(coordinator.WaitUntil([&] { return !coordinator.leases.empty(); }));
  coordinator.Stop();
  CHECK(agent.Join().ok());
}

TEST_CASE("a worker that may leave says so, and leaves when others do all that is left") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.idle = v1::IDLE_REASON_SURPLUS;
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir(),
                     [](AgentOptions& options) { options.idle_exit = absl::Hours(1); });
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.leases.size() == 1);
  CHECK(coordinator.leases[0].leaves_if_surplus());
}

TEST_CASE("the trial file tells how long the job lets an attempt run") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(CommandAttempt(
      scratch, 1,
      absl::StrFormat("cp \"$RUNG_TRIAL_FILE\" %s; %s", scratch.path("trial.json"), kGoodResult)));
  coordinator.Start(1);
  FakeJob job;
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  REQUIRE(agent.Join().ok());
  CHECK(!agent.left_for_job_end());
  const nlohmann::json trial = nlohmann::json::parse(*ReadFile(scratch.path("trial.json")));
  CHECK(trial["deadline_seconds"] == absl::ToDoubleSeconds(absl::Hours(1) - kLeaveMargin));
  REQUIRE(!coordinator.progress.empty());
  CHECK(coordinator.progress[0].job_seconds_left() == 3600);
}

TEST_CASE("the end of the job drains: checkpoint, release, last words") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Grant(
      CommandAttempt(scratch, 1,
                     absl::StrFormat("trap 'exit 85' TERM; touch %s; while :; do sleep 0.01; done",
                                     scratch.path("running"))));
  coordinator.Start(1);
  FakeJob job;
  RunningAgent agent(scratch, coordinator.dir(), job.Change());
  for (int i = 0; i < 20'000'000 && !std::filesystem::exists(scratch.path("running")); ++i)
    std::this_thread::yield();
  agent.DrainBeforeJobEnd();
  REQUIRE(agent.Join().ok());
  CHECK(agent.left_for_job_end());
  CHECK(coordinator.calls == std::vector<std::string>{"register", "release 1"});
  CHECK(SaysLeaving(coordinator));
}

TEST_CASE("other bytes in a data file are reported as bad data") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  REQUIRE(WriteFileAtomic(scratch.path("train.csv"), "changed").ok());
  v1::Attempt attempt = CommandAttempt(scratch, 1, kGoodResult);
  (*attempt.mutable_data_sha256())[scratch.path("train.csv")] = Sha256Hex("original");
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  REQUIRE(coordinator.reports.size() == 1);
  CHECK(coordinator.reports[0].failure().cause() == v1::FAILURE_CAUSE_BAD_DATA);
  CHECK(coordinator.reports[0].failure().message().find("train.csv") != std::string::npos);
}

TEST_CASE("a data file that cannot be read here is given back, and blames nobody") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  v1::Attempt attempt = CommandAttempt(scratch, 1, kGoodResult);
  (*attempt.mutable_data_sha256())[scratch.path("not-mounted/train.csv")] = Sha256Hex("original");
  coordinator.Grant(attempt);
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  REQUIRE(agent.Join().ok());
  CHECK(coordinator.reports.empty());
  REQUIRE(coordinator.releases.size() == 1);
  CHECK(coordinator.releases[0].data_unreadable());
  CHECK(coordinator.releases[0].message().find("train.csv") != std::string::npos);
}

TEST_CASE("a directory that is not shared is refused with the coordinator's words") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  REQUIRE(WriteFileAtomic(coordinator.dir().nonce(), "another directory's").ok());
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  CHECK(agent.Join().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a slot taken by another process ends the worker") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.lease_answers = {grpc::Status(grpc::StatusCode::ABORTED, "another process has this slot")};
  coordinator.Start(1);
  RunningAgent agent(scratch, coordinator.dir());
  CHECK(absl::IsAborted(agent.Join()));
}

TEST_CASE("a coordinator of an older term is refused") {
  const Scratch scratch;
  FakeCoordinator coordinator(scratch);
  coordinator.Start(4);
  CHECK(Greet(coordinator.dir(), 4).ok());
  CHECK(absl::IsUnavailable(Greet(coordinator.dir(), 5).status()));
  const auto session = Greet(coordinator.dir(), 0);
  REQUIRE(session.ok());
  CHECK((*session)->CheckTerm(4).ok());
  CHECK((*session)->CheckTerm(5).ok());
  CHECK(absl::IsUnavailable((*session)->CheckTerm(3)));
}

TEST_CASE("points that wait together travel together and stay until they are acknowledged") {
  ProgressOutbox outbox;
  const auto point = [](int64_t trial, int64_t step) {
    v1::ProgressRequest message;
    message.mutable_attempt()->set_trial(trial);
    message.set_step(step);
    message.add_points()->set_step(step);
    return message;
  };
  for (int64_t step = 1; step <= 3; ++step) outbox.Add(point(1, step));
  outbox.Add(point(2, 1));
  const v1::ProgressRequest first = outbox.Next({});
  CHECK(first.seq() == 1);
  CHECK(first.points_size() == 3);
  CHECK(first.step() == 3);
  CHECK(outbox.Next({}).attempt().trial() == 2);
  CHECK(!outbox.HasUnsent());
  CHECK(outbox.Next({}).seq() == 3);  // a heartbeat
  outbox.Acknowledge(1);
  outbox.StartStream();
  REQUIRE(outbox.HasUnsent());
  const v1::ProgressRequest again = outbox.Next({});
  CHECK(again.attempt().trial() == 2);
  CHECK(again.seq() == 1);
  outbox.Acknowledge(1);
  CHECK(outbox.size() == 0);
}

TEST_CASE("a full outbox gives up old points and no checkpoint") {
  ProgressOutbox outbox;
  v1::ProgressRequest checkpoint;
  checkpoint.set_checkpointed(true);
  outbox.Add(checkpoint);
  for (size_t i = 0; i < kMaxOutboxMessages + 5; ++i) {
    v1::ProgressRequest message;
    message.mutable_attempt()->set_trial(static_cast<int64_t>(i));
    outbox.Add(message);
  }
  CHECK(outbox.size() == kMaxOutboxMessages);
  CHECK(outbox.dropped() == 6);
  CHECK(outbox.Next({}).checkpointed());
  CHECK(outbox.Next({}).attempt().trial() == 6);
}

}  // namespace
}  // namespace rung
