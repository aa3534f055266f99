// Where the trials of `auto` stand. Bracket 0 is a ladder from the lowest rung: it starts as Hyperband's
// first bracket, and when that is through the model alone says who climbs (search/auto_policy.h). Bracket 1
// has the configs that train at budget.max at once. Pure functions; thread-safe.
#pragma once

#include <vector>

#include "search/brackets/scheduler.h"
#include "search/study_spec.h"

namespace rung {

inline constexpr int kLadder = 0;
inline constexpr int kAtOnce = 1;

// Budget units of one replicate of all that was begun.
struct AutoAccount {
  double start = 0;     // by the trials that Hyperband's first bracket has
  double climbing = 0;  // by the others on the ladder
  double at_once = 0;
  double All() const { return start + climbing + at_once; }
};
AutoAccount AccountOf(const StudySpec& spec, const std::vector<Bracket>& brackets);

// What so many of Hyperband's brackets cost: stop.brackets, or a full set of them where no rule ends the
// search. Infinite where another rule does.
double AutoLimit(const StudySpec& spec);

}  // namespace rung
