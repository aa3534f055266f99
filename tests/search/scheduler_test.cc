#include "search/brackets/scheduler.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "search/brackets/ranking.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

StudySpec Scheduled(const std::string& algorithm, const std::string& stop, int max = 9) {
  return Spec(StudyText(absl::StrCat(R"({"algorithm": )", algorithm, R"(, "stop": )", stop,
                                     R"(, "budget": {"min": 1, "max": )", max, "}}")));
}

// One worker; score(trial, rung) is maximised. The trace names the jobs in their order: TRIAL/RUNG.
template <typename Score>
std::string Trace(Driver& driver, const Score& score) {
  std::vector<std::string> jobs;
  while (const std::optional<Job> job = driver.Take()) {
    jobs.push_back(absl::StrCat(job->trial.value, "/", job->rung));
    driver.Report(*job, score(job->trial.value, job->rung));
  }
  CHECK(driver.study.state() == StudyState::kDone);
  CHECK(Dump(driver.Replayed(driver.log.size())) == Dump(driver.study));
  return absl::StrJoin(jobs, " ");
}

constexpr double kScores[] = {0, .5, .9, .1, .7, .3, .8, .2, .6, .4};
double Steady(int64_t trial, int) {
  return kScores[trial % 10];
}

std::string Count(const Driver& driver, TrialState state) {
  int count = 0;
  for (const TrialId id : driver.study.trials()) count += driver.study.trial(id).state == state;
  return absl::StrCat(count, " ", Name(state));
}

TEST_CASE("successive halving: the same bracket again and again") {
  Driver driver(Scheduled(R"({"type": "random", "scheduler": "successive_halving"})", R"({"brackets": 2})"));
  CHECK(Trace(driver, Steady) ==
        "1/0 2/0 3/0 4/0 5/0 6/0 7/0 8/0 9/0 2/1 4/1 6/1 2/2 "
        "10/0 11/0 12/0 13/0 14/0 15/0 16/0 17/0 18/0 12/1 14/1 16/1 12/2");
  Driver five(Scheduled(R"({"type": "random", "scheduler": "successive_halving", "configs": 5})", "{}"));
  CHECK(Trace(five, Steady) == "1/0 2/0 3/0 4/0 5/0 2/1 2/2");
  CHECK(five.study.planned_brackets() == 1);
}

TEST_CASE("Hyperband: the golden brackets, by the original's floor and the paper's ceil") {
  const auto entered = [](const char* plan) {
    Driver driver(Scheduled(
        absl::StrCat(R"({"type": "random", "scheduler": "hyperband", "plan": ")", plan, R"("})"), "{}", 81));
    Trace(driver, Steady);
    std::string text;
    for (const auto& bracket : driver.study.brackets())
      text += absl::StrCat(absl::StrJoin(bracket.entered, ","), " ");
    return text;
  };
  CHECK(entered("floor") == "81,27,9,3,1 27,9,3,1 9,3,1 6,2 5 ");
  CHECK(entered("ceil") == "81,27,9,3,1 34,11,3,1 15,5,1 8,2 5 ");
}

TEST_CASE("ASHA promotes the best waiting trial of the highest rung that has one in its top third") {
  Driver driver(Scheduled(R"({"type": "random", "scheduler": "asha"})", R"({"trials": 9})"));
  CHECK(Trace(driver, Steady) == "1/0 2/0 3/0 2/1 4/0 5/0 6/0 6/1 7/0 8/0 9/0 4/1 2/2");
  CHECK(Count(driver, TrialState::kCompleted) == "1 completed");
  CHECK(Count(driver, TrialState::kStopped) == "8 stopped");
}

TEST_CASE("ASHA of the stopping type lets a trial go on at once, or never") {
  Driver driver(
      Scheduled(R"({"type": "random", "scheduler": "asha", "variant": "stopping"})", R"({"trials": 9})"));
  CHECK(Trace(driver, Steady) == "1/0 1/1 1/2 2/0 2/1 2/2 3/0 4/0 5/0 6/0 6/1 7/0 8/0 9/0");
  CHECK(Count(driver, TrialState::kCompleted) == "2 completed");
}

TEST_CASE("asynchronous Hyperband starts trials in the proportions of Hyperband's plan") {
  Driver driver(Scheduled(R"({"type": "random", "scheduler": "async_hyperband"})", R"({"trials": 15})"));
  // Shares 9 : 3 : 3 of brackets that start at rungs 0, 1 and 2.
  CHECK(Trace(driver, Steady) ==
        "1/0 2/1 3/2 4/0 5/0 4/1 6/0 6/1 7/1 8/2 9/0 10/0 11/0 12/1 2/2 13/2 14/0 15/0 14/1 6/2");
  const auto brackets = driver.study.brackets();
  REQUIRE(brackets.size() == 3);
  CHECK(brackets[0].entered[0] == 9);
  CHECK(brackets[1].entered[0] == 3);
  CHECK(brackets[2].entered[0] == 3);
}

TEST_CASE("PASHA stays on two rungs while they agree, and climbs when they do not") {
  const char* pasha = R"({"type": "random", "scheduler": "pasha"})";
  Driver steady(Scheduled(pasha, R"({"trials": 18})", 27));
  CHECK(Trace(steady, Steady) ==
        "1/0 2/0 3/0 2/1 4/0 5/0 6/0 6/1 7/0 8/0 9/0 4/1 10/0 11/0 12/0 12/1 13/0 14/0 15/0 14/1 16/0 16/1 "
        "17/0 18/0");
  CHECK(steady.study.incumbent()->rung == 1);

  // The second rung turns the order round.
  Driver turned(Scheduled(pasha, R"({"trials": 18})", 27));
  CHECK(Trace(turned, [](int64_t trial,
                         int rung) { return rung == 0 ? Steady(trial, rung) : 1 - Steady(trial, rung); }) ==
        "1/0 2/0 3/0 2/1 4/0 5/0 6/0 6/1 7/0 8/0 9/0 4/1 4/2 10/0 11/0 12/0 12/1 13/0 14/0 15/0 14/1 16/0 "
        "16/1 14/2 17/0 "
        "18/0");
}

Bracket Ladder(const std::vector<std::vector<double>>& losses) {
  Bracket bracket;
  bracket.levels.resize(losses.size());
  for (size_t level = 0; level < losses.size(); ++level) {
    RungStanding& standing = bracket.levels[level];
    for (size_t trial = 0; trial < losses[level].size(); ++trial) {
      standing.ranked.push_back({{static_cast<int64_t>(trial) + 1}, losses[level][trial]});
      standing.losses[static_cast<int64_t>(trial) + 1] = losses[level][trial];
    }
    std::sort(standing.ranked.begin(), standing.ranked.end());
  }
  return bracket;
}

TEST_CASE("rankings agree up to the noise that crossing curves show") {
  CHECK(RankingsAgree(Ladder({{.1, .2, .3}, {.4, .5, .9}}), 1));
  CHECK_FALSE(RankingsAgree(Ladder({{.1, .2, .3}, {.4, .3, .9}}), 1));
  // Trials 1 and 2 change places twice and differ by .01 at the end: that is noise.
  const Bracket crossing = Ladder({{.50, .51, .9}, {.41, .40, .8}, {.300, .305, .7}, {.21, .20, .6}});
  CHECK(RankingNoise(crossing, 2) == Approx(.005));
  CHECK(RankingNoise(crossing, 1) == 0);
  CHECK_FALSE(RankingsAgree(crossing, 1));
  CHECK(RankingsAgree(crossing, 3));
}

TEST_CASE("the median rule stops what is worse than half of the others were on average") {
  Driver driver(
      Scheduled(R"({"type": "random", "scheduler": "median_stop", "min_results": 3})", R"({"trials": 7})"));
  // Means of 1, 2, 3 at rung 0: .5 .9 .1; 4 (.7) is above their median, 5 (.3) below that of .5 .9 .1 .7.
  CHECK(Trace(driver, Steady) == "1/0 1/1 1/2 2/0 2/1 2/2 3/0 3/1 3/2 4/0 4/1 4/2 5/0 6/0 6/1 6/2 7/0");
  const auto inputs = nlohmann::json::parse(driver.log[driver.log.size() - 2].decision_json);
  CHECK(inputs["scheduler"] == "median_stop/1");
  CHECK(inputs["others"] == 6);
  CHECK(inputs["median"].get<double>() == Approx(-.6));
  CHECK(inputs["best"].get<double>() == Approx(-.2));
}

TEST_CASE("without a scheduler every trial trains at the maximum") {
  Driver driver(Scheduled(R"({"type": "bohb", "scheduler": "none"})", R"({"trials": 4})"));
  CHECK(driver.study.spec().RungBudgets() == std::vector<double>{9});
  CHECK(Trace(driver, Steady) == "1/0 2/0 3/0 4/0");
}

TEST_CASE("every verdict says what it saw") {
  Driver driver(Scheduled(R"({"type": "random", "scheduler": "asha"})", R"({"trials": 9})"));
  Trace(driver, Steady);
  int promoted = 0;
  for (const Event& event : driver.log) {
    if (event.kind != EventKind::kPromoted) continue;
    ++promoted;
    const auto inputs = nlohmann::json::parse(event.decision_json);
    CHECK(inputs["scheduler"] == "asha/1");
    CHECK(inputs["rung"] == event.job.rung - 1);
    CHECK(inputs["place"].get<int>() <= inputs["promotes"].get<int>());
    CHECK(inputs["promotes"].get<int>() == inputs["of"].get<int>() / 3);
  }
  CHECK(promoted == 4);
}

TEST_CASE("any eta, budgets as real numbers") {
  for (const char* scheduler :
       {"hyperband", "successive_halving", "asha", "async_hyperband", "pasha", "median_stop"}) {
    INFO(scheduler);
    Driver driver(Spec(StudyText(absl::StrCat(
        R"({"algorithm": {"type": "random", "scheduler": ")", scheduler,
        R"("}, "stop": {"trials": 40}, "budget": {"unit": "steps", "min": 0.3, "max": 7.7, "eta": 1.7}})"))));
    Trace(driver, Steady);
    CHECK(driver.study.trials().size() == 40);
    CHECK(driver.study.spec().RungBudgets().size() == 7);
  }
}

TEST_CASE("thousands of workers, one rung after the other") {
  for (const char* scheduler : {"hyperband", "asha", "async_hyperband"}) {
    INFO(scheduler);
    Driver driver(Scheduled(absl::StrCat(R"({"type": "random", "scheduler": ")", scheduler, R"("})"),
                            R"({"trials": 6000})", 81));
    for (int round = 0; round < 40 && !IsFinished(driver.study.state()); ++round) {
      std::vector<Job> running;
      while (running.size() < 2000) {
        const std::optional<Job> job = driver.Take();
        if (!job.has_value()) break;
        running.push_back(*job);
      }
      // Nobody waits while configs are left.
      if (driver.study.trials().size() < 6000) CHECK(running.size() == 2000);
      for (const Job& job : running) driver.Report(job, Steady(job.trial.value * 7, job.rung));
    }
    driver.Run();
    CHECK(driver.study.state() == StudyState::kDone);
    CHECK(driver.study.trials().size() == 6000);
  }
}

TEST_CASE("what an algorithm cannot mean is refused") {
  const auto error = [](const char* changes) {
    const absl::Status status = StudySpec::Parse(StudyText(changes), "study.json", "/data").status();
    REQUIRE_FALSE(status.ok());
    return std::string(status.message());
  };
  CHECK_THAT(error(R"({"algorithm": {"type": "hyperband", "scheduler": "asha"}, "stop": {"trials": 9}})"),
             Catch::Contains("Use type: random"));
  CHECK_THAT(error(R"({"algorithm": {"type": "bohb", "scheduler": "asha"}})"),
             Catch::Contains("asha without a stop rule never ends"));
  CHECK_THAT(error(R"({"algorithm": {"type": "bohb", "scheduler": "pasha"}, "stop": {"brackets": 3}})"),
             Catch::Contains("stop.brackets means nothing to pasha"));
  CHECK_THAT(
      error(R"({"algorithm": {"type": "bohb", "scheduler": "asha", "plan": "ceil"}, "stop": {"trials": 9}})"),
      Catch::Contains("unknown key algorithm.plan"));
  CHECK_THAT(error(R"({"algorithm": {"type": "bohb", "scheduler": "ahsa"}})"),
             Catch::Contains("Did you mean asha"));
}

TEST_CASE("the text of an algorithm round-trips, and stays as it was where no scheduler is said") {
  for (const char* algorithm : {R"({"type": "bohb", "scheduler": "asha", "variant": "stopping"})",
                                R"({"type": "random", "scheduler": "pasha"})",
                                R"({"type": "grid", "scheduler": "successive_halving", "configs": 12})",
                                R"({"type": "bohb", "scheduler": "median_stop", "min_results": 2})"}) {
    const StudySpec spec = Scheduled(algorithm, R"({"trials": 9})");
    CHECK(StudySpec::Parse(spec.CanonicalJson(), "s", "/")->CanonicalJson() == spec.CanonicalJson());
  }
  CHECK_FALSE(Spec(StudyText()).algorithm.ToJson().contains("scheduler"));
}

}  // namespace
}  // namespace rung
