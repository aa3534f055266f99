// Runs attempts in trainer programs: a warm rung-trainer, or one process per attempt for trainer "command".
// Feeds them, reads their messages, keeps their logs, stops them, and tells the causes of their deaths apart.
// Not thread-safe: one attempt at a time, on the agent's thread; only AttemptControl is touched from
// elsewhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/attempt_control.h"
#include "worker/attempt_outcome.h"
#include "worker/attempt_plan.h"
#include "worker/memory_events.h"
#include "worker/trainer_child.h"
#include "worker/trainer_message.h"

namespace rung {

struct TrainerOptions {
  std::string trainer_path;                          // rung-trainer
  std::string scratch_directory;                     // this worker's own: trial files go there
  std::vector<std::string> device_environment;       // CUDA_VISIBLE_DEVICES=..., for every trainer
  bool end_strays = false;                           // what a trainer left behind ends with it: strays.h
  absl::Duration stop_patience = absl::Seconds(30);  // from SIGTERM to SIGKILL
  absl::Duration result_patience =
      absl::Seconds(60);  // from a command's result line to its exit, then SIGTERM
  absl::Duration failure_patience = absl::Seconds(5);  // from its failure to its exit, then SIGKILL
};

// Called on the agent's thread while the attempt runs.
struct AttemptObserver {
  std::function<void(const MetricMessage&)> on_metric;
  std::function<void(const CheckpointMessage&)> on_checkpoint;
};

class TrainerProcess {
 public:
  // Removes the trial files that a killed process of this worker left.
  TrainerProcess(TrainerOptions options, MemoryEvents memory_events, Clock& clock, Log& log);
  ~TrainerProcess();
  TrainerProcess(const TrainerProcess&) = delete;
  TrainerProcess& operator=(const TrainerProcess&) = delete;

  // Runs the attempt to its end. The caller resets `control` before.
  AttemptOutcome Run(const AttemptPlan& plan, AttemptControl& control, const AttemptObserver& observer);

 private:
  class Attempt;  // one attempt being run

  absl::Status WriteTrial(const AttemptPlan& plan, const std::string& trial_file) const;
  absl::Status StartChild(const AttemptPlan& plan, const std::string& trial_file);
  void EndChild();
  ReleasedOutcome Unfit(const std::string& why) const;
  ReleasedOutcome NotStarted(const AttemptPlan& plan, const absl::Status& why) const;
  std::vector<std::string> Environment(const AttemptPlan& plan, const std::string& trial_file) const;

  const TrainerOptions options_;
  const MemoryEvents memory_events_;
  Clock& clock_;
  Log& log_;
  std::unique_ptr<TrainerChild> child_;  // a rung-trainer between attempts; of either kind during one
  std::string oom_counter_file_;
  int64_t oom_kills_before_ = 0;  // the attempt at hand
};

}  // namespace rung
