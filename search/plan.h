// What a study will cost, before and while it runs. Pure.
#pragma once

#include "search/study.h"

namespace rung {

// Of a row's two costs the one that the study pays, in full budgets.
double Cost(const PlanRow& row, const StudySpec& spec);

// Budget units of the whole plan, over all replicates; what Plan() (search/study.h) says bracket by bracket.
double PlannedBudget(const StudySpec& spec);

}  // namespace rung
