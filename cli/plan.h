// What a study would do, before anything runs: brackets, rungs, trials, cost, disk, and what its author may
// not have meant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/output.h"
#include "cli/study_file.h"
#include "cli/views.h"
#include "search/study.h"

namespace rung {

// Optimiser updates of the rungs for one config: U = ceil(ceil(rows/batch)/accumulation) an epoch; a rung of
// b epochs ends after max(1, round-half-up(b*U)) updates.
std::vector<int64_t> RungUpdates(const StudySpec& spec, const Config& config, int64_t train_rows);

// The checkpoints that exist at one time, at most: a bracket keeps one of each of its trials and replicates
// until their rung is decided, and the incumbent has one; beside them, for each worker, the one being
// written, the one before, and one of a trial of the next bracket. A trial that reached its last rung keeps
// its model.
struct DiskNeed {
  int kept_checkpoints = 0;
  int kept_models = 0;
  int checkpoints_per_worker = 3;
  int64_t checkpoint_bytes = 0;  // 0: unknown (trainer "command", or the model was not read)
  int64_t model_bytes = 0;       // the weights of one
  int64_t Bytes(int workers) const {
    return checkpoint_bytes * (kept_checkpoints + int64_t{checkpoints_per_worker} * workers) +
           model_bytes * kept_models;
  }
};

// How long training takes, where that is known: from the study's own results, or because somebody said so.
struct PlanTime {
  double unit_seconds = 0;  // device seconds of one budget unit; 0: unknown
  int workers = 1;
};

struct PlanReport {
  std::vector<PlanRow> rows;  // bracket -1: the enqueued configs that run outside the brackets
  int trials = 0;
  double full_budgets = 0;  // cost with the study's on_promotion
  double restart_full_budgets = 0;
  // From a seeded sample of the space; shares in 0..1, 0 where unknown (no rows, or trainer "command").
  double share_warmup_beyond = 0;
  double share_rungs_together = 0;
  int64_t fewest_updates_first_rung = 0;
  DiskNeed disk;
  PlanTime time;
};
PlanReport MakePlan(const PreparedStudy& study, const PlanTime& time);

// Before a study is stored. Errors: ResourceExhausted (E0388: the file system of `directory` has less free
// than the study's checkpoints need).
absl::Status CheckDisk(const PreparedStudy& study, int workers, const std::string& directory);

std::string PlanText(const PlanReport& plan, const PreparedStudy& study, const Terminal& terminal);
OrderedJson PlanJson(const PlanReport& plan, const PreparedStudy& study);

}  // namespace rung
