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
  const bool whole = eta == std::floor(eta);
  for (int i = 0; i <= s; ++i) {
    const double trials =
        whole ? static_cast<double>(static_cast<int64_t>(first) / static_cast<int64_t>(Power(eta, i)))
              : std::floor(first / Power(eta, i) + 1e-9);
    plan.trials.push_back(static_cast<int>(std::max(trials, 1.0)));
  }
  return plan;
}

std::vector<TrialId> Promoted(std::vector<RungEntry> entries, int count) {
  std::erase_if(entries, [](const RungEntry& entry) { return !std::isfinite(entry.loss); });
  std::sort(entries.begin(), entries.end(), [](const RungEntry& a, const RungEntry& b) {
    return a.loss != b.loss ? a.loss < b.loss : a.trial < b.trial;
  });
  std::vector<TrialId> promoted;
  for (size_t i = 0; i < entries.size() && static_cast<int>(i) < count; ++i)
    promoted.push_back(entries[i].trial);
  return promoted;
}

}  // namespace rung
