#include <catch2/catch.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "search/brackets/auto_ladder.h"
#include "search/plan.h"
#include "search/replay.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

StudySpec Auto(const std::string& changes = "{}") {
  nlohmann::json patch = nlohmann::json::parse(changes);
  patch["algorithm"] = {{"type", "auto"}};
  return Spec(StudyText(patch.dump()));
}

constexpr double kScores[] = {0, .5, .9, .1, .7, .3, .8, .2, .6, .4};
double Steady(const Job& job) {
  return kScores[job.trial.value % 10];
}

std::string Named(const Job& job) {
  return absl::StrCat(job.trial.value, "/", job.rung);
}

// One worker, to the end or for so many jobs; TRIAL/RUNG in the order in which they ran.
template <typename Score>
std::string Trace(Driver& driver, const Score& score, int most = 100000) {
  std::vector<std::string> jobs;
  for (int i = 0; i < most; ++i) {
    const std::optional<Job> job = driver.Take();
    if (!job.has_value()) break;
    jobs.push_back(Named(*job));
    driver.Report(*job, score(*job));
  }
  return absl::StrJoin(jobs, " ");
}

// Why each promotion and each new config came about, by the words of its decision.
std::map<std::string, int> Reasons(const std::vector<Event>& log) {
  std::map<std::string, int> reasons;
  for (const Event& event : log) {
    const std::string& said =
        event.kind == EventKind::kTrialCreated ? event.origin.detail_json : event.decision_json;
    if (said.empty()) continue;
    const nlohmann::json detail = nlohmann::json::parse(said);
    ++reasons[detail.value("why", "ladder")];
  }
  return reasons;
}

void CheckReplay(const Driver& driver) {
  const ReplayReport report =
      Replay(driver.study.id(), driver.study.spec(), {{"train.csv", "0f"}}, driver.log);
  for (const auto& difference : report.differences)
    UNSCOPED_INFO(difference.stored + "\n" + difference.derived);
  CHECK(report.differences.empty());
}

TEST_CASE("auto starts as Hyperband's first bracket") {
  Driver driver(Auto(R"({"stop": {"trials": 100}})"));
  CHECK(Trace(driver, Steady, 13) == "1/0 2/0 3/0 4/0 5/0 6/0 7/0 8/0 9/0 2/1 4/1 6/1 2/2");
  // Random until d + 2 results, then every third config.
  std::string sources;
  for (int64_t id = 1; id <= 9; ++id)
    sources += driver.study.trial({id}).origin.source == Origin::Source::kModel ? "m" : "r";
  CHECK(sources == "rrrrrrmmr");
}

TEST_CASE("the golden trace of auto") {
  Driver driver(Auto(R"({"stop": {"trials": 24}})"));
  CHECK(Trace(driver, [&](const Job& job) { return driver.Score(job); }) ==
        "1/0 2/0 3/0 4/0 5/0 6/0 7/0 8/0 9/0 1/1 3/1 7/1 7/2 10/0 11/0 11/1 11/2 12/0 "
        "12/1 12/2 13/2 14/2 15/2 16/0 16/1 16/2 17/2 18/0 18/1 18/2 19/2 20/0 20/1 "
        "20/2 21/2 22/0 22/1 22/2 23/2 24/0 24/1 24/2");
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(Dump(driver.Replayed(driver.log.size())) == Dump(driver.study));
  CheckReplay(driver);
}

TEST_CASE("who failed in the start is not replaced, and never climbs") {
  Driver driver(Auto(R"({"stop": {"trials": 100}})"));
  std::vector<std::string> jobs;
  for (int i = 0; i < 11; ++i) {
    const Job job = *driver.Take();
    jobs.push_back(Named(job));
    const bool fails = job.trial.value > 2 && job.rung == 0;
    fails ? driver.Fail(job, FailureCause::kDiverged) : driver.Report(job, Steady(job));
  }
  CHECK(absl::StrJoin(jobs, " ") == "1/0 2/0 3/0 4/0 5/0 6/0 7/0 8/0 9/0 1/1 2/1");
}

TEST_CASE("a worker without work in auto's start goes on to what comes after it") {
  Driver driver(Auto(R"({"stop": {"trials": 100}})"));
  std::vector<Job> running;
  for (int i = 0; i < 9; ++i) running.push_back(*driver.Take());
  for (size_t i = 0; i < 8; ++i) driver.Report(running[i], Steady(running[i]));
  // The ninth is still being trained; at the lowest rung stand eight, and nobody went further.
  CHECK(Named(*driver.Take()) == "6/1");
  CHECK(nlohmann::json::parse(driver.log[driver.log.size() - 2].decision_json).at("why") == "quota");
  driver.Report(running[8], Steady(running[8]));
  CHECK(Named(*driver.Take()) == "2/1");
  CHECK(Named(*driver.Take()) == "4/1");  // 2, 6 and 4 are the best of the nine
}

TEST_CASE("every decision of auto says what it saw, and half of the budget trains configs at once") {
  Driver driver(Auto(R"({"stop": {"trials": 120}})"));
  for (int i = 0; i < 200; ++i) {
    const std::optional<Job> job = driver.Take();
    if (!job.has_value()) break;
    driver.Report(*job, driver.Score(*job));
  }
  const std::map<std::string, int> reasons = Reasons(driver.log);
  for (const char* why : {"start", "random_fraction", "at_once", "most_promising", "on_its_way", "ladder"}) {
    INFO(why);
    CHECK(reasons.contains(why));
  }
  for (const Event& event : driver.log) {
    if (event.kind != EventKind::kPromoted) continue;
    const nlohmann::json detail = nlohmann::json::parse(event.decision_json);
    CHECK(detail.at("scheduler") == "auto/1");
    CHECK(detail.at("rung") == event.job.rung - 1);
    if (!detail.contains("why")) continue;
    for (const char* key :
         {"place", "of", "score", "best_score", "alternatives", "target", "mean", "sd", "dropped"})
      CHECK(detail.contains(key));
  }
  const auto brackets = driver.study.brackets();
  REQUIRE(brackets.size() == 2);
  CHECK(brackets[1].first_rung == 2);
  const double climbing = (brackets[0].entered[0] - 9) + 2 * (brackets[0].entered[1] - 3) +
                          6 * (brackets[0].entered[2] - 1);  // budgets 1, 3, 9, resumed
  CHECK(9 * brackets[1].entered[0] == Approx(climbing).margin(9));
  CheckReplay(driver);
}

TEST_CASE("without a rule auto spends what Hyperband's brackets would, and says so before") {
  for (const char* stop : {"{}", R"({"brackets": 1})", R"({"brackets": 7})"}) {
    INFO(stop);
    const std::string changes = absl::StrCat(R"({"stop": )", stop, "}");
    Driver driver(Auto(changes));
    const StudySpec hyperband = Spec(StudyText(changes));
    CHECK(AutoLimit(driver.study.spec()) == Approx(PlannedBudget(hyperband)));
    CHECK(PlannedBudget(driver.study.spec()) == Approx(PlannedBudget(hyperband)));
    double spent = 0;
    while (const std::optional<Job> job = driver.Take()) {
      const std::vector<double> budgets = driver.study.spec().RungBudgets();
      const auto rung = static_cast<size_t>(job->rung);
      spent += budgets[rung] - (driver.granted.resume_attempt == 0 ? 0 : budgets[rung - 1]);
      driver.Report(*job, driver.Score(*job));
    }
    CHECK(driver.study.state() == StudyState::kDone);
    CHECK(spent >= AutoLimit(driver.study.spec()) * (1 - 1e-9));
    CHECK(spent < AutoLimit(driver.study.spec()) + 9);
    CheckReplay(driver);
  }
}

TEST_CASE("auto ends with its last result, whether or not a worker asks again") {
  for (const char* stop : {R"({"brackets": 1})", R"({"trials": 12})"}) {
    INFO(stop);
    Driver driver(Auto(absl::StrCat(R"({"stop": )", stop, "}")));
    std::optional<Job> last;
    while (const std::optional<Job> job = driver.Take()) driver.Report(*(last = job), driver.Score(*job));
    REQUIRE(driver.study.state() == StudyState::kDone);
    CHECK(driver.log.back().kind == EventKind::kStudyState);
    REQUIRE(last.has_value());
    Driver unasked(Auto(absl::StrCat(R"({"stop": )", stop, "}")));
    while (unasked.study.state() == StudyState::kRunning) {
      const std::optional<Job> job = unasked.Take();
      REQUIRE(job.has_value());  // an ask that gets nothing is not what ends it
      unasked.Report(*job, unasked.Score(*job));
    }
    CHECK(Dump(unasked.study) == Dump(driver.study));
  }
}

TEST_CASE("a slow one of auto's first configs does not make it spend more than its budget") {
  Driver driver(Auto(R"({"stop": {"brackets": 1}})"));
  const double limit = AutoLimit(driver.study.spec());
  const std::vector<double> budgets = driver.study.spec().RungBudgets();
  double spent = 0;
  std::optional<Job> slow;
  while (true) {
    std::optional<Job> job = driver.Take();
    if (!job.has_value() && !slow.has_value()) break;
    if (!job.has_value()) {
      job = std::exchange(slow, std::nullopt);  // nobody has anything else to do
    } else {
      const auto rung = static_cast<size_t>(job->rung);
      spent += budgets[rung] - (driver.granted.resume_attempt == 0 ? 0 : budgets[rung - 1]);
      if (job->trial.value == 2 && job->rung == 0) {
        slow = job;
        continue;
      }
    }
    driver.Report(*job, driver.Score(*job));
  }
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(driver.study.state_message() == "the budget of 1 brackets is spent");
  CHECK(spent < limit + 9);
  CheckReplay(driver);
}

TEST_CASE("auto finds a good config sooner than random search, at one worker and at eight") {
  for (const int workers : {1, 8}) {
    Driver driver(Auto(R"({"stop": {"trials": 60}, "seed": 3})"));
    std::vector<Job> running;
    while (true) {
      while (static_cast<int>(running.size()) < workers) {
        const std::optional<Job> job = driver.Take();
        if (!job.has_value()) break;
        running.push_back(*job);
      }
      if (running.empty()) break;
      driver.Report(running.front(), driver.Score(running.front()));
      running.erase(running.begin());
    }
    REQUIRE(driver.study.incumbent().has_value());
    CHECK(driver.study.incumbent()->rung == 2);
    CHECK(driver.study.incumbent()->score > 1.5);  // the best is 1.52
    CheckReplay(driver);
  }
}

TEST_CASE("what a person enqueued starts first") {
  Driver driver(Auto(R"({"stop": {"trials": 20},
      "enqueue": [{"config": {"x": 0.25, "y": 0.5, "c": "a"}}, {"config": "default", "to": "max"}]})"));
  driver.Run(12);
  CHECK(driver.study.trial({1}).bracket == -1);
  CHECK(driver.study.trial({2}).origin.source == Origin::Source::kEnqueued);
  CHECK(driver.study.trial({2}).bracket == kLadder);
  CheckReplay(driver);
}

TEST_CASE("auto on spaces and ladders of one") {
  for (const char* changes :
       {R"({"space": {"x": 0.5, "y": 0.5, "c": "a", "z": null}, "stop": {"trials": 20}})",
        R"({"space": {"x": {"values": [0.1, 0.3]}, "y": 0.5, "c": ["a", "b"], "z": null},
                                  "stop": {"trials": 20}})",
        R"({"budget": {"min": 9}, "stop": {"trials": 20}})", R"({"budget": {"min": 3}})",
        R"({"budget": {"min": 0, "max": 0}})", R"({"stop": {"trials": 1}})",
        R"({"budget": {"on_promotion": "restart"}})",
        R"({"stop": {"trials": 1}, "enqueue": [{"config": "default", "to": "max"}]})"}) {
    INFO(changes);
    Driver driver(Auto(changes));
    driver.Run();
    CHECK(driver.study.state() == StudyState::kDone);
    CheckReplay(driver);
  }
}

TEST_CASE("a study of the time when auto was a sampler in Hyperband's brackets goes on as such") {
  const StudySpec old =
      Spec(StudyText(R"({"algorithm": {"type": "auto", "plan": "floor", "refill": false}})"));
  CHECK(old.algorithm.scheduler == SchedulerType::kHyperband);
  CHECK(old.algorithm.ToJson() == nlohmann::json{{"type", "auto"}, {"plan", "floor"}, {"refill", false}});
  CHECK(StudySpec::Parse(old.CanonicalJson(), "s", "/")->CanonicalJson() == old.CanonicalJson());
  CHECK(Auto().algorithm.ToJson() == nlohmann::json{{"type", "auto"}});
}

}  // namespace
}  // namespace rung
