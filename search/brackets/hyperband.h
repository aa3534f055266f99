// Hyperband's plan. Li et al. 2018, Alg. 1, in the variant of BOHB
// (Falkner et al. 2018). Pure functions; thread-safe.
#pragma once

#include <vector>

#include "search/trial.h"

namespace rung {

// R = 1 + the largest k with min * eta^k <= max, found by multiplication: logarithms lose a rung (243, eta
// 3). min = max = 0: one rung. Requires 0 <= min <= max, eta > 1.
int RungCount(double min, double max, double eta);

// Budgets of rungs 0..R-1: max * eta^-(R-1-i); the last is max exactly.
std::vector<double> RungBudgets(double min, double max, double eta);

// One ladder of iteration k: trials n_i at rungs first_rung + i.
struct BracketPlan {
  int first_rung = 0;
  std::vector<int> trials;
};
// s = R-1-(k mod R), n_0 = floor(R/(s+1)) eta^s (BOHB), or ceil(R/(s+1) eta^s) of the Hyperband paper with
// `ceil_plan`; n_i = max(1, floor(n_0 / eta^i)).
BracketPlan PlanBracket(int rungs, double eta, int iteration, bool ceil_plan);

// One ladder from rung 0 with n_0 = configs (0: floor(eta^(R-1)), one trial at the top), n_i = floor(n_0 /
// eta^i), at least 1 where `survives`.
BracketPlan PlanHalving(int rungs, double eta, int configs, bool survives);

// A finite loss at a rung; better ones first, ties to the older trial.
struct RungEntry {
  TrialId trial;
  double loss = 0;
  friend bool operator<(const RungEntry& a, const RungEntry& b) {
    return a.loss != b.loss ? a.loss < b.loss : a.trial < b.trial;
  }
};

}  // namespace rung
