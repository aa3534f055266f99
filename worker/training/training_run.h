// Training of one model up to a budget: the loop, its evaluations and its checkpoints. All that a later
// attempt needs to go on is in RunState, the weights and the optimiser. Free of torch headers. One thread;
// may throw what torch throws.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/model/classifier.h"
#include "worker/text/budget_scale.h"
#include "worker/training/message_pipe.h"
#include "worker/training/optimizer.h"
#include "worker/training/schedule.h"
#include "worker/training/task_tally.h"

namespace rung {

// What a process is asked by signals; set in a signal handler, read between micro-batches and evaluation
// batches.
struct Requests {
  std::atomic<bool> stop = false;        // SIGTERM: checkpoint and release
  std::atomic<bool> checkpoint = false;  // SIGUSR1: checkpoint now
};

struct RunPlan {
  BudgetScale scale{BudgetScale::Unit::kEpochs, 1, 1, 1};
  int64_t end_update = 0;
  bool further_rungs = true;  // false: the checkpoint at the end needs no optimiser
  ScheduleOptions schedule;
  UpdateRule rule;
  uint64_t seed = 0;
  int batch_size = 1, evaluation_batch_size = 1, accumulation = 1;
  double evaluate_every = 1;  // epochs; 0: only at the end
  absl::Duration checkpoint_every;
  int keep_checkpoints = 1;
  std::string checkpoint_dir;
  std::string identity;  // of everything that determines the weights; a checkpoint of another is not taken
  std::vector<std::string> labels;
  nlohmann::json origin;  // trainer, config and base model: what a checkpoint needs to become a model again
  std::string metric;     // what `best` is judged by
  bool maximize = true, report_best = false;
};

struct RunData {
  const std::vector<EncodedExample>& train;
  const std::vector<EncodedExample>& validation;
};

enum class RunEnd { kFinished, kReleased, kDiverged };

// Predicts each example once, whatever the batch size; examples of like length share a batch. nullopt if
// `requests` ask to stop. logits (may be null): (examples, labels), in the examples' order.
std::optional<TaskTally> EvaluateExamples(Classifier& model, const std::vector<EncodedExample>& examples,
                                          int batch_size, const Requests& requests,
                                          std::vector<float>* logits);

class TrainingRun {
 public:
  // All references must live longer.
  TrainingRun(const RunPlan& plan, const RunData& data, Classifier& model, MessagePipe& pipe,
              Requests& requests, Clock& clock);

  // Goes on from the newest good checkpoint of `directory`; false if there is none that fits. Reasons go to
  // `log`.
  absl::StatusOr<bool> Resume(const std::string& directory, std::vector<std::string>* log);
  // Errors: those of WriteCheckpoint and MessagePipe.
  absl::StatusOr<RunEnd> Run();

  // Of a finished run: train/... and validation/... as docs/trainer-messages.md names them.
  MetricValues Values() const;
  const TaskTally& validation() const { return validation_; }
  int64_t updates() const { return updates_; }

 private:
  absl::StatusOr<RunEnd> RunUpdate();
  bool AtRegularEvaluation() const;
  absl::StatusOr<bool> Evaluate();  // false: stopped
  absl::Status SaveCheckpoint();
  nlohmann::json State() const;
  bool Better(const MetricValues& values) const;

  const RunPlan& plan_;
  const RunData data_;
  Classifier& model_;
  MessagePipe& pipe_;
  Requests& requests_;
  Clock& clock_;
  WeightUpdater updater_;
  std::vector<int32_t> lengths_;  // of data_.train
  std::vector<std::vector<int>> epoch_batches_;
  int64_t epoch_ = -1;  // whose batches these are

  int64_t updates_ = 0, rows_read_ = 0, saved_update_ = -1, evaluated_update_ = -1;
  TaskTally running_, validation_;
  MetricValues last_, best_;  // best_: over the regular evaluations, without the ends of rungs between them
  absl::Duration train_time_, evaluation_time_, last_checkpoint_, last_metric_;
};

}  // namespace rung
