// Power cuts, I/O errors and a full disk, in this process.
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "coordinator/core_loop.h"
#include "coordinator/recovery.h"
#include "tests/soak/rounds.h"
#include "tests/storage/lossy_disk.h"

namespace rung::soak {
namespace {

constexpr char kDatabase[] = "/rung.db";
constexpr int kWorkers = 6;
constexpr int64_t kMostOperations = 200;  // to a cut: some ten commits
constexpr int64_t kMostCalls = 8;         // that share a commit
constexpr int64_t kMostLives = 20'000;    // of one study; with faults at each operation it has many
constexpr int64_t kMostTurns = 200'000;   // of one study
constexpr double kOnlyTheProcess = 0.3;   // of the deaths
constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kLeaseTtl = absl::Milliseconds(200);  // who is silent for six turns is lost

// Moves only when it is told to, by the core thread.
class TurnClock final : public Clock {
 public:
  absl::Time Now() override { return absl::FromUnixSeconds(1'700'000'000) + Steady(); }
  absl::Duration Steady() override { return absl::Milliseconds(milliseconds_.load()); }
  void Pass(absl::Duration time) { milliseconds_ += absl::ToInt64Milliseconds(time); }

 private:
  std::atomic<int64_t> milliseconds_{100'000};
};

class LossyRound {
 public:
  LossyRound(Fault fault, uint64_t seed)
      : fault_(fault), disk_(seed), rng_(seed, 0x6c6f737379), crew_(seed, kWorkers), log_("soak", clock_) {
    // Beside the database nothing is written: where it would go, nobody can make a directory.
    options_.dir = StateDir{"/proc/none"};
    options_.nonce = "nonce";
    options_.lease_ttl = kLeaseTtl;
    if (fault == Fault::kWeakPowerCut) disk_.WeakenSyncs();
    if (!log_.OpenFile("/dev/null").ok()) crew_.Breach("no log");
  }

  Outcome ToTheEnd() {
    int64_t lives = 0;
    while (!crew_.breach().has_value() && !crew_.finished()) {
      if (++lives > kMostLives) crew_.Breach("the study does not end");
      Live();
      crew_.Abandon();
      // Sometimes only the process is gone, and the power the next time: what was not synced is there until
      // then, and what is told of it must not be lost.
      if (!crew_.finished() && rng_.Uniform() < kOnlyTheProcess) {
        disk_.GoOn();
        continue;
      }
      ++deaths_;
      disk_.Restore();
      Check();
    }
    return {crew_.breach(), deaths_, crew_.figures()};
  }

 private:
  struct Answer {
    int64_t number;
    absl::Status status;
    std::string bytes;
  };

  bool CutsPower() const { return fault_ == Fault::kPowerCut || fault_ == Fault::kWeakPowerCut; }
  bool FailsOnce() const { return fault_ == Fault::kIoError || fault_ == Fault::kDiskFull; }

  // One coordinator, from its start to its death.
  void Live() {
    if (CutsPower()) disk_.CutAfter(1 + rng_.Below(kMostOperations));
    ++options_.term;
    absl::StatusOr<std::unique_ptr<StudyStore>> store = StudyStore::Open(kDatabase);
    if (!store.ok()) return Expect("the store does not open", store.status());
    absl::StatusOr<Core> core = LoadCore(options_, **store);
    if (!core.ok()) return Expect("no coordinator starts", core.status());
    std::atomic<int> told{0};
    CoreLoop loop(*std::move(core), *std::move(store), nullptr, clock_, log_);
    loop.Start([](const Push&) {}, [&told] { ++told; });
    while (loop.failure().ok() && !crew_.finished() && !crew_.breach().has_value()) {
      if (FailsOnce()) {
        FaultyTurn(loop);
      } else {
        Turn(loop);
      }
    }
    if (!loop.failure().ok()) CheckStopped(loop, told);
  }

  void Expect(const char* what, const absl::Status& status) {
    if (!disk_.dead()) crew_.Breach(absl::StrFormat("%s: %s", what, std::string(status.message())));
  }

  // A group of calls, all in one commit: what comes before is held back until they are queued.
  void Turn(CoreLoop& loop) {
    if (++turns_ > kMostTurns) crew_.Breach("the study does not end");
    std::promise<void> held, go;
    loop.Post([&, gate = go.get_future().share()](const Core&, StudyStore&) {
      clock_.Pass(kTurn);
      held.set_value();
      gate.wait();
    });
    held.get_future().wait();
    std::vector<Answer> answers;  // the core thread's until Run returns
    const int64_t calls = FailsOnce() ? kMostCalls : 1 + rng_.Below(kMostCalls);
    for (int64_t i = 0; i < calls; ++i) {
      const std::optional<Crew::Call> call = crew_.Next();
      if (!call.has_value()) break;
      loop.Submit(call->body,
                  [&answers, number = call->number](const absl::Status& status, const std::string& bytes) {
                    answers.push_back({number, status, bytes});
                  });
    }
    go.set_value();
    loop.Run([](const Core&, StudyStore&) {});
    const bool failed = !loop.failure().ok();
    for (const Answer& each : answers) {
      if (failed && !absl::IsUnavailable(each.status)) crew_.Breach("an answer after a commit that failed");
      crew_.Answered(each.number, each.status, each.bytes);
    }
  }

  // The n-th operation of the turn fails, with n = 1, 2, ... from turn to turn, until a turn has fewer.
  void FaultyTurn(CoreLoop& loop) {
    const int64_t before = disk_.asked();
    disk_.FailAt(operation_,
                 fault_ == Fault::kDiskFull ? LossyDisk::Fault::kFull : LossyDisk::Fault::kIoError);
    Turn(loop);
    const bool reached = disk_.asked() - before >= operation_;
    disk_.FailAt(0, LossyDisk::Fault::kIoError);
    if (!loop.failure().ok() && !reached) crew_.Breach("the coordinator failed where nothing had");
    operation_ = reached ? operation_ + 1 : 1;
  }

  // Nothing more is acknowledged, nothing written: a commit is not tried again.
  void CheckStopped(CoreLoop& loop, const std::atomic<int>& told) {
    const int64_t before = disk_.asked();
    crew_.Abandon();
    Turn(loop);
    if (disk_.asked() != before) crew_.Breach("something was written after a commit that failed");
    if (told != 1) crew_.Breach(absl::StrFormat("the failure was told %d times", told.load()));
    if (fault_ == Fault::kNone) crew_.Breach("the coordinator failed by itself");
  }

  // In a copy: the next coordinator finds what the last one left.
  void Check() {
    constexpr char kCopy[] = "/copy.db";
    for (const char* suffix : {"", "-wal"})
      disk_.Copy(std::string(kDatabase) + suffix, std::string(kCopy) + suffix);
    const absl::StatusOr<std::unique_ptr<StudyStore>> store = StudyStore::Open(kCopy);
    if (!store.ok()) return crew_.Breach("the store does not open: " + std::string(store.status().message()));
    crew_.Check(options_, **store);
  }

  const Fault fault_;
  LossyDisk disk_;
  Rng rng_;
  Crew crew_;
  TurnClock clock_;
  Log log_;
  CoreOptions options_;
  int64_t operation_ = 1;
  int64_t deaths_ = 0, turns_ = 0;
};

}  // namespace

Outcome RunOnLossyDisk(Fault fault, uint64_t seed) {
  return LossyRound(fault, seed).ToTheEnd();
}

}  // namespace rung::soak
