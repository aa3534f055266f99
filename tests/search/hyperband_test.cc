#include "search/brackets/hyperband.h"

#include <catch2/catch.hpp>
#include <limits>
#include <numeric>
#include <vector>

namespace rung {
namespace {

std::vector<std::vector<int>> AllBrackets(double min, double max, double eta, bool ceil_plan = false) {
  std::vector<std::vector<int>> brackets;
  const int rungs = RungCount(min, max, eta);
  for (int k = 0; k < rungs; ++k) brackets.push_back(PlanBracket(rungs, eta, k, ceil_plan).trials);
  return brackets;
}

using Brackets = std::vector<std::vector<int>>;

TEST_CASE("the plan equals BOHB's golden brackets") {
  CHECK(AllBrackets(1, 81, 3) == Brackets{{81, 27, 9, 3, 1}, {27, 9, 3, 1}, {9, 3, 1}, {6, 2}, {5}});
  CHECK(AllBrackets(9, 243, 3) == Brackets{{27, 9, 3, 1}, {9, 3, 1}, {6, 2}, {4}});
  CHECK(AllBrackets(1, 9, 3) == Brackets{{9, 3, 1}, {3, 1}, {3}});
  CHECK(AllBrackets(1, 16, 2) == Brackets{{16, 8, 4, 2, 1}, {8, 4, 2, 1}, {4, 2, 1}, {4, 2}, {5}});
  CHECK(AllBrackets(1, 64, 4) == Brackets{{64, 16, 4, 1}, {16, 4, 1}, {8, 2}, {4}});
  CHECK(AllBrackets(7, 7, 3) == Brackets{{1}});
}

TEST_CASE("the paper's ceil variant") {
  const Brackets brackets = AllBrackets(1, 81, 3, true);
  std::vector<int> first;
  for (const auto& bracket : brackets) first.push_back(bracket[0]);
  CHECK(first == std::vector<int>{81, 34, 15, 8, 5});
  CHECK(brackets[1] == std::vector<int>{34, 11, 3, 1});
}

TEST_CASE("the golden costs of 1..81") {
  const std::vector<double> budgets = RungBudgets(1, 81, 3);
  std::vector<double> costs;
  for (int k = 0; k < 5; ++k) {
    const BracketPlan plan = PlanBracket(5, 3, k, false);
    double cost = 0;
    for (size_t i = 0; i < plan.trials.size(); ++i)
      cost += plan.trials[i] * budgets[static_cast<size_t>(plan.first_rung) + i];
    costs.push_back(cost);
  }
  CHECK(costs == std::vector<double>{405, 324, 243, 324, 405});
}

TEST_CASE("rungs are counted without losing one to logarithms") {
  CHECK(RungCount(1, 243, 3) == 6);
  CHECK(RungCount(1, 1000, 10) == 4);
  CHECK(RungCount(0.001, 1, 10) == 4);
  CHECK(RungCount(1, 10, 3) == 3);
  CHECK(RungCount(0, 0, 3) == 1);
  // The lower bound is only a bound.
  const std::vector<double> budgets = RungBudgets(1, 10, 3);
  REQUIRE(budgets.size() == 3);
  CHECK(budgets[0] == Approx(1.1111111111));
  CHECK(budgets[1] == Approx(3.3333333333));
  CHECK(budgets[2] == 10);
  CHECK(RungBudgets(1, 81, 3) == std::vector<double>{1, 3, 9, 27, 81});
  CHECK(RungBudgets(0, 0, 3) == std::vector<double>{0});
}

TEST_CASE("n_i comes from integer division") {
  // int(343 * 7^-2) is 6 in floating point.
  CHECK(PlanBracket(4, 7, 0, false).trials == std::vector<int>{343, 49, 7, 1});
}

}  // namespace
}  // namespace rung
