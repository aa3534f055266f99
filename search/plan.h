// What a study will cost, before and while it runs. Pure.
#pragma once

#include "search/study_spec.h"

namespace rung {

// Budget units of the whole plan, over all replicates; what Plan() (search/study.h) says bracket by bracket.
double PlannedBudget(const StudySpec& spec);

}  // namespace rung
