// How an attempt ended, and what a trainer's death says about it. Values only; thread-safe.
#pragma once

#include <string>
#include <variant>

#include "absl/status/status.h"
#include "search/trial.h"

namespace rung {

struct FailedOutcome {
  FailureCause cause = FailureCause::kCrash;
  std::string message;
};
struct ReleasedOutcome {
  LossReason reason = LossReason::kReleased;
  std::string message;
  bool data_unreadable = false;                  // here; another node may read the data, start the program
  absl::Status worker_unfit = absl::OkStatus();  // not OK: rung-trainer does not start here, and nothing will
};
struct AbandonedOutcome {};  // the lease was lost: nothing is reported
// ResultValues: outputs are absolute paths.
using AttemptOutcome = std::variant<ResultValues, FailedOutcome, ReleasedOutcome, AbandonedOutcome>;

// The end of a trainer that gave neither a result nor a failed line and was not asked to stop. `status` as of
// waitpid; `out_of_memory`: the kernel's out-of-memory killer struck in its cgroup meanwhile; `tail`: its
// last words on stderr.
AttemptOutcome OutcomeOfDeath(int status, bool out_of_memory, const std::string& tail);

// For logs.
std::string OutcomeText(const AttemptOutcome& outcome);

}  // namespace rung
