// Runs Slurm's sbatch. Linux only; called from the main thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

// Hands the script file to sbatch, found in PATH, with exactly this environment; returns the job's number.
// Errors: NotFound (E0803: no sbatch), FailedPrecondition (E0804: what sbatch said), Internal (E0804: its
// answer is no number).
absl::StatusOr<int64_t> SubmitScript(const std::string& script_path,
                                     const std::vector<std::string>& environment);

}  // namespace rung
