// One attempt from its trial file to its result line, in a process that lives on: what a rung-trainer does.
// One thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/training/message_pipe.h"
#include "worker/training/training_data.h"
#include "worker/training/training_run.h"
#include "worker/training/trial_file.h"

namespace rung {

enum class AttemptEnd { kReported, kReleased };

class AttemptRunner {
 public:
  // All references must live longer.
  AttemptRunner(MessagePipe& pipe, Requests& requests, Log& log, Clock& clock);

  // Writes exactly one result or failed line, or none if it returns kReleased: then a checkpoint was written
  // because a stop was asked for. Errors: those of MessagePipe; all other failures are reported as failed
  // lines.
  absl::StatusOr<AttemptEnd> Run(const std::string& trial_path);

 private:
  struct Prepared;
  absl::Status Train(const TrialFile& trial, AttemptEnd* end);
  absl::Status Evaluate(const TrialFile& trial, AttemptEnd* end);
  absl::StatusOr<Prepared> Prepare(const TrialFile& trial);

  MessagePipe& pipe_;
  Requests& requests_;
  Log& log_;
  Clock& clock_;
  TrainingData data_;
};

}  // namespace rung
