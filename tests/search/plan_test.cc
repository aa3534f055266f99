#include "search/plan.h"

#include <catch2/catch.hpp>

#include "tests/search/study_fixture.h"

namespace rung {
namespace {

TEST_CASE("the planned budget is the sum of the plan's rows") {
  for (const char* changes :
       {R"({})", R"({"stop": {"brackets": 1}})", R"({"stop": {"brackets": 7}})", R"({"stop": {"trials": 1}})",
        R"({"stop": {"trials": 100}})", R"({"stop": {"trials": 100, "brackets": 4}})",
        R"({"stop": {"trials": 40}, "enqueue": [{"config": "default", "to": "max"}]})",
        R"({"algorithm": {"type": "random", "scheduler": "asha"}, "stop": {"trials": 30}})",
        R"({"algorithm": {"type": "random", "scheduler": "none"}, "stop": {"trials": 30}})",
        R"({"budget": {"on_promotion": "restart"}, "stop": {"trials": 50}})"}) {
    const StudySpec spec = Spec(StudyText(changes));
    double full_budgets = 0;
    int64_t trials = 0;
    for (const PlanRow& row : Plan(spec)) {
      full_budgets += spec.budget.on_promotion == OnPromotion::kResume ? row.cost_resume : row.cost_restart;
      if (row.bracket >= 0) trials += row.trials.front();
    }
    INFO(changes);
    CHECK(PlannedBudget(spec) == Approx(full_budgets * spec.budget.max));
    if (spec.stop.trials.has_value() && !spec.algorithm.Endless()) CHECK(trials <= *spec.stop.trials);
  }
}

TEST_CASE("a plan of a million brackets costs a million times one set's share") {
  const auto budget = [](int brackets) {
    return PlannedBudget(Spec(StudyText("{\"stop\": {\"brackets\": " + std::to_string(brackets) + "}}")));
  };
  CHECK(budget(999999) == Approx(333333 * budget(3)));
  CHECK(StudySpec::Parse(StudyText(R"({"stop": {"brackets": 1000001}})"), "s", "/").status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rung
