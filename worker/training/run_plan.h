// From a trial file and its options to the plan of a training run. Pure.
#pragma once

#include "worker/training/training_data.h"
#include "worker/training/training_run.h"
#include "worker/training/trial_file.h"

namespace rung {

// T of the schedule is laid out for budget.max where promotion resumes, for the rung where it restarts.
RunPlan PlanRun(const TrialFile& trial, const TextOptions& options, const EncodedData& data);

// sha256 of everything that determines the weights after an update: the documented determinism contract. Not
// in it: trial, rung, attempt, the rung's budget (but for T), evaluations, checkpoints.
std::string TrainingIdentity(const TrialFile& trial, const TextOptions& options, int64_t total_updates);

}  // namespace rung
