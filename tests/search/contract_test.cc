// One contract for every sampler with every scheduler: whatever workers do, a study decides alike for the
// same seed, proposes legal configs and none twice, goes on and comes to an end, and its log tells the same
// story again.
#include <catch2/catch.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "search/replay.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

constexpr const char* kSamplers[] = {"random",    "bohb",  "grid", "tpe", "dehb",
                                     "priorband", "sobol", "gp",   "smac"};
constexpr const char* kSchedulers[] = {R"("hyperband", "plan": "ceil")",
                                       R"("successive_halving", "configs": 6, "refill": true)",
                                       R"("asha")",
                                       R"("asha", "variant": "stopping")",
                                       R"("async_hyperband")",
                                       R"("pasha")",
                                       R"("median_stop")",
                                       R"("none")"};
constexpr int kTrials = 48;

// `scheduler` empty: the type's own.
StudySpec Pair(const std::string& sampler, const std::string& scheduler) {
  const std::string said = scheduler.empty() ? "" : absl::StrCat(R"(, "scheduler": )", scheduler);
  return Spec(StudyText(absl::StrCat(
      R"({"space": {"x": {"low": 0, "high": 1}, "y": {"low": 0.001, "high": 1, "log": true},
      "c": ["a", "b", "c"], "z": {"int": [1, 40], "if": "c = b"}, "w": {"ordinal": [1, 2, 4], "if": "c != a"},
      "forbidden": ["c = c and x > 0.8"]}, "stop": {"trials": )",
      kTrials, R"(}, "algorithm": {"type": ")", sampler, "\"", said, "}}")));
}

// A machine room with `workers` workers: results come late and in any order, some never (their worker is lost
// and the job runs again elsewhere), some trainings fail. All of it from one seed.
class Room {
 public:
  Room(StudySpec spec, int workers) : driver(std::move(spec)), workers_(workers) {}

  void RunToTheEnd() {
    Rng dice(17, static_cast<uint64_t>(workers_));
    int idle_rounds = 0;
    while (!IsFinished(driver.study.state())) {
      const size_t before = driver.log.size();
      while (static_cast<int>(running_.size()) < workers_) {
        const std::optional<Job> job = driver.Take();
        if (!job.has_value()) break;
        running_.push_back(*job);
      }
      if (!running_.empty()) OneAnswer(dice);
      idle_rounds = driver.log.size() == before ? idle_rounds + 1 : 0;
      REQUIRE(idle_rounds < 2);
    }
    CHECK(running_.empty());
  }

  Driver driver;

 private:
  void OneAnswer(Rng& dice) {
    const auto which = static_cast<size_t>(dice.Below(static_cast<int64_t>(running_.size())));
    const Job job = running_[which];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(which));
    const double draw = dice.Uniform();
    if (draw < .06 && driver.study.Wanted(job)) return driver.Fail(job, FailureCause::kDiverged);
    if (draw < .12) return driver.Lose(job, draw < .09 ? LossReason::kLost : LossReason::kReleased);
    driver.Report(job, driver.Score(job));
  }

  const int workers_;
  std::vector<Job> running_;
};

// The parts of a log that the study decided.
std::string Decisions(const std::vector<Event>& log) {
  std::string text;
  for (const Event& event : log) {
    text +=
        absl::StrCat(event.seq, " ", Name(event.kind), " ", event.job.trial.value, "/", event.job.rung, " ",
                     CanonicalJson(event.config), event.origin.detail_json, event.decision_json, "\n");
  }
  return text;
}

void CheckTrials(const Study& study) {
  std::set<std::string> configs;
  for (const TrialId id : study.trials()) {
    const TrialView& trial = study.trial(id);
    INFO("trial " << id.value << " " << CanonicalJson(trial.config));
    CHECK(study.spec().space.Validate(trial.config).ok());
    CHECK(configs.insert(CanonicalJson(trial.config)).second);
    const bool over = trial.state == TrialState::kCompleted || trial.state == TrialState::kStopped ||
                      trial.state == TrialState::kFailed;
    CHECK(over);
    CHECK(trial.rung <= trial.last_rung);
    // Rung by rung, each entered with a score at the one below.
    for (int rung = trial.first_rung; rung < trial.rung; ++rung)
      CHECK(trial.rungs.at(rung).score.has_value());
    CHECK(static_cast<int>(trial.rungs.size()) == trial.rung - trial.first_rung + 1);
    if (trial.state == TrialState::kCompleted) CHECK(trial.rung == trial.last_rung);
  }
}

void CheckContract(const std::string& sampler, const std::string& scheduler, int workers) {
  INFO(sampler << " with " << scheduler << ", " << workers << " workers");
  Room room(Pair(sampler, scheduler), workers);
  room.RunToTheEnd();
  const Study& study = room.driver.study;
  CHECK(study.state() == StudyState::kDone);
  CHECK(study.trials().size() == kTrials);
  REQUIRE(study.incumbent().has_value());
  CheckTrials(study);
  CHECK(Dump(room.driver.Replayed(room.driver.log.size())) == Dump(study));
  const ReplayReport report = Replay(study.id(), study.spec(), {{"train.csv", "0f"}}, room.driver.log);
  for (const auto& difference : report.differences)
    UNSCOPED_INFO(difference.stored + "\n" + difference.derived);
  CHECK(report.differences.empty());
  Room again(Pair(sampler, scheduler), workers);
  again.RunToTheEnd();
  CHECK(Decisions(again.driver.log) == Decisions(room.driver.log));
}

TEST_CASE("every sampler with every scheduler keeps the contract") {
  for (const char* sampler : kSamplers) {
    for (const char* scheduler : kSchedulers) {
      for (const int workers : {1, 3, 64}) {
        const bool dear = std::string(sampler) == "gp" || std::string(sampler) == "smac";
        if (dear && workers != 3) continue;  // milliseconds a proposal
        CheckContract(sampler, scheduler, workers);
      }
    }
  }
}

TEST_CASE("auto, which is sampler and scheduler in one, keeps the contract") {
  for (const int workers : {1, 3, 64}) CheckContract("auto", "", workers);
}

}  // namespace
}  // namespace rung
