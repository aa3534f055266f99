// An attempt as the coordinator granted it, made ready for a trainer: the trial file and how to start the
// program. Values only; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/rung/v1/rung.pb.h"

namespace rung {

struct AttemptPlan {
  v1::Attempt attempt;
  std::string metric;      // objective.metric: a result of kind train needs it
  std::string trial_json;  // the text of RUNG_TRIAL_FILE
  bool is_command = false;
  absl::Duration time_limit =
      absl::InfiniteDuration();  // trainer.time_limit, or the coordinator's if shorter
  // Trainer "command" only:
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=VALUE of trainer.env
  std::vector<std::string> pass_env;     // names taken over from the worker
  std::string directory;

  bool evaluates() const { return attempt.key().kind() == v1::ATTEMPT_KIND_EVALUATE; }
};

// `stop_after`: when this worker will stop the attempt anyway; the trial file tells the earliest end. Errors:
// InvalidArgument (E0722) if the study or config is not what a coordinator sends.
absl::StatusOr<AttemptPlan> PlanAttempt(const v1::Attempt& attempt,
                                        absl::Duration stop_after = absl::InfiniteDuration());

// "3/17/2/0/1": study, trial, rung, replicate, attempt, for logs; "e" before the attempt for kind evaluate.
std::string KeyText(const v1::JobKey& key);

// The same execution of the same job.
bool SameAttempt(const v1::JobKey& a, const v1::JobKey& b);

// Compares the data files with the hashes the study was made with; each file is read once while it stays
// unchanged.
class DataCheck {
 public:
  // Errors: FailedPrecondition (E0723) naming the file whose bytes differ, Unavailable (E0726) naming one
  // that this worker cannot read.
  absl::Status Verify(const v1::Attempt& attempt);

 private:
  struct Seen {
    std::string path;
    int64_t size = 0;
    int64_t modified_ns = 0;
    int64_t inode = 0;
    std::string sha256;
  };
  std::vector<Seen> seen_;
};

}  // namespace rung
