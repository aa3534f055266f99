// What a study would do, before anything runs: brackets, rungs, trials, cost, and what its author may not
// have meant. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/study_file.h"
#include "cli/views.h"
#include "search/study.h"

namespace rung {

// Optimiser updates of the rungs for one config: U = ceil(ceil(rows/batch)/accumulation) an epoch; a rung of
// b epochs ends after max(1, round-half-up(b*U)) updates.
std::vector<int64_t> RungUpdates(const StudySpec& spec, const Config& config, int64_t train_rows);

struct PlanReport {
  std::vector<PlanRow> rows;  // bracket -1: the enqueued configs that run outside the brackets
  int trials = 0;
  double full_budgets = 0;  // cost with the study's on_promotion
  double restart_full_budgets = 0;
  // From a seeded sample of the space; shares in 0..1, 0 where unknown (no rows, or trainer "command").
  double share_warmup_beyond = 0;
  double share_rungs_together = 0;
  int64_t fewest_updates_first_rung = 0;
};
PlanReport MakePlan(const PreparedStudy& study);

std::string PlanText(const PlanReport& plan, const PreparedStudy& study, const Terminal& terminal);
OrderedJson PlanJson(const PlanReport& plan, const PreparedStudy& study);

}  // namespace rung
