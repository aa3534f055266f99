#include "search/brackets/hyperband.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/check.h"

namespace rung {
namespace {

double Power(double base, int exponent) {
  double power = 1;
  for (int i = 0; i < exponent; ++i) power *= base;
  return power;
}

// floor(first / eta^i): with whole numbers where eta is one, or 343 * 7^-2 would be 6.
int Divided(double first, double eta, int i, bool at_least_one) {
  const double quotient =
      eta == std::floor(eta)
          ? static_cast<double>(static_cast<int64_t>(first) / static_cast<int64_t>(Power(eta, i)))
          : std::floor(first / Power(eta, i) + 1e-9);
  return static_cast<int>(at_least_one ? std::max(quotient, 1.0) : quotient);
}

}  // namespace

int RungCount(double min, double max, double eta) {
  RUNG_CHECK(min >= 0 && min <= max && eta > 1, "0 <= min <= max and eta > 1");
  if (min <= 0) return 1;
  int rungs = 1;
  // 1e-9: 0.1 * 10^3 is not quite 100 everywhere.
  for (double budget = min * eta; budget <= max * (1 + 1e-9); budget *= eta) ++rungs;
  return rungs;
}

std::vector<double> RungBudgets(double min, double max, double eta) {
  const int rungs = RungCount(min, max, eta);
  std::vector<double> budgets;
  for (int i = 0; i < rungs; ++i) budgets.push_back(max / Power(eta, rungs - 1 - i));
  return budgets;
}

BracketPlan PlanBracket(int rungs, double eta, int iteration, bool ceil_plan) {
  RUNG_CHECK(rungs >= 1 && iteration >= 0, "a rung and an iteration");
  BracketPlan plan;
  plan.first_rung = iteration % rungs;
  const int s = rungs - 1 - plan.first_rung;
  // Powers of a whole eta are exact in a double up to 2^53; Parse keeps n_0 below that.
  const double first = ceil_plan ? std::ceil(rungs * Power(eta, s) / (s + 1) - 1e-9)
                                 : std::floor(std::floor(rungs / (s + 1)) * Power(eta, s) + 1e-9);
  for (int i = 0; i <= s; ++i) plan.trials.push_back(Divided(first, eta, i, true));
  return plan;
}

BracketPlan PlanHalving(int rungs, double eta, int configs, bool survives) {
  RUNG_CHECK(rungs >= 1 && configs >= 0, "a rung and a number of configs");
  BracketPlan plan;
  const double first = configs > 0 ? configs : std::floor(Power(eta, rungs - 1) + 1e-9);
  for (int i = 0; i < rungs; ++i) plan.trials.push_back(Divided(first, eta, i, survives));
  return plan;
}

}  // namespace rung
