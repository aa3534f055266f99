#include "worker/training/training_run.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "worker/training/checkpoint.h"
#include "worker/training/data_order.h"
#include "worker/training/snapshot.h"

namespace rung {
namespace {

constexpr absl::Duration kMetricInterval = absl::Seconds(1);

std::vector<int32_t> LengthsOf(const std::vector<EncodedExample>& examples) {
  std::vector<int32_t> lengths;
  lengths.reserve(examples.size());
  for (const EncodedExample& example : examples) lengths.push_back(static_cast<int32_t>(example.ids.size()));
  return lengths;
}

// JSON has no number for what is not finite.
nlohmann::json FiniteValues(const MetricValues& values) {
  nlohmann::json finite = nlohmann::json::object();
  for (const auto& [name, value] : values) {
    if (std::isfinite(value)) finite[name] = value;
  }
  return finite;
}

}  // namespace

std::optional<TaskTally> EvaluateExamples(Classifier& model, const std::vector<EncodedExample>& examples,
                                          int batch_size, const Requests& requests,
                                          std::vector<float>* logits) {
  std::vector<int> order(examples.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return examples[static_cast<size_t>(a)].ids.size() < examples[static_cast<size_t>(b)].ids.size();
  });
  const auto labels = static_cast<size_t>(model.labels());
  if (logits != nullptr) logits->assign(examples.size() * labels, 0);
  TaskTally tally(model.task(), model.labels());
  for (auto begin = order.begin(); begin != order.end();) {
    if (requests.stop) return std::nullopt;
    const auto end = begin + std::min<std::ptrdiff_t>(batch_size, order.end() - begin);
    const PackedBatch batch = PackBatch(examples, {begin, end});
    const BatchOutcome outcome = model.Evaluate(batch);
    tally.Add(batch, outcome);
    for (size_t i = 0; logits != nullptr && i < batch.rows.size(); ++i) {
      std::copy_n(outcome.logits.data() + i * labels, labels,
                  logits->data() + static_cast<size_t>(batch.rows[i]) * labels);
    }
    begin = end;
  }
  return tally;
}

TrainingRun::TrainingRun(const RunPlan& plan, const RunData& data, Classifier& model, MessagePipe& pipe,
                         Requests& requests, Clock& clock)
    : plan_(plan),
      data_(data),
      model_(model),
      pipe_(pipe),
      requests_(requests),
      clock_(clock),
      updater_(plan.rule, model.parameters()),
      lengths_(LengthsOf(data.train)),
      running_(model.task(), model.labels()),
      validation_(model.task(), model.labels()),
      last_checkpoint_(clock.Steady()),
      last_metric_(-absl::InfiniteDuration()) {}

nlohmann::json TrainingRun::State() const {
  return {{"format", 1},
          {"identity", plan_.identity},
          {"labels", plan_.labels},
          {"origin", plan_.origin},
          {"updates", updates_},
          {"rows_read", rows_read_},
          {"evaluated_update", evaluated_update_},
          {"running", running_.State()},
          {"best", FiniteValues(best_)}};
}

absl::StatusOr<bool> TrainingRun::Resume(const std::string& directory, std::vector<std::string>* log) {
  const std::optional<FoundCheckpoint> found = FindCheckpoint(directory, plan_.end_update, log);
  if (!found) return false;
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json state, ReadCheckpointState(found->path));
  if (state.value("identity", std::string()) != plan_.identity) {
    log->push_back(found->path + ": belongs to another configuration");
    return false;
  }
  const bool needs_optimizer = found->update < plan_.end_update || plan_.further_rungs;
  RUNG_RETURN_IF_ERROR(
      RestoreSnapshot(found->path, model_.parameters(), needs_optimizer ? &updater_ : nullptr));
  updates_ = state.value("updates", int64_t{0});
  rows_read_ = state.value("rows_read", int64_t{0});
  evaluated_update_ = state.value("evaluated_update", int64_t{-1});
  running_.Restore(state.value("running", running_.State()));
  best_ = state.value("best", MetricValues());
  if (directory == plan_.checkpoint_dir) saved_update_ = updates_;
  return true;
}

absl::Status TrainingRun::SaveCheckpoint() {
  requests_.checkpoint = false;
  last_checkpoint_ = clock_.Steady();
  if (saved_update_ == updates_) return absl::OkStatus();
  const bool last = updates_ >= plan_.end_update && !plan_.further_rungs;
  const Snapshot snapshot(model_.parameters(), last ? nullptr : &updater_);
  const double budget = plan_.scale.Charged(updates_, rows_read_);
  RUNG_ASSIGN_OR_RETURN(const std::string name,
                        WriteCheckpoint(plan_.checkpoint_dir,
                                        {updates_, budget, State(), snapshot.model(), snapshot.optimizer()},
                                        plan_.keep_checkpoints));
  saved_update_ = updates_;
  last_checkpoint_ = clock_.Steady();
  return pipe_.Checkpoint(budget, name);
}

bool TrainingRun::AtRegularEvaluation() const {
  if (plan_.evaluate_every <= 0 || updates_ == 0) return false;
  const double per = plan_.evaluate_every * static_cast<double>(plan_.scale.updates_per_epoch());
  const double number = std::round(static_cast<double>(updates_) / per);
  return number >= 1 && plan_.scale.UpdatesOfEpochs(number * plan_.evaluate_every) == updates_;
}

bool TrainingRun::Better(const MetricValues& values) const {
  const auto now = values.find(plan_.metric);
  if (now == values.end() || !std::isfinite(now->second)) return false;
  const auto best = best_.find(plan_.metric);
  if (best == best_.end()) return true;
  return plan_.maximize ? now->second > best->second : now->second < best->second;
}

absl::StatusOr<bool> TrainingRun::Evaluate() {
  const absl::Duration begin = clock_.Steady();
  last_.clear();
  if (running_.rows() > 0) last_.merge(running_.RunningValues("train/"));
  if (!data_.validation.empty()) {
    std::optional<TaskTally> tally =
        EvaluateExamples(model_, data_.validation, plan_.evaluation_batch_size, requests_, nullptr);
    if (!tally) return false;
    validation_ = *std::move(tally);
    last_.merge(validation_.Values("validation/"));
  }
  evaluation_time_ += clock_.Steady() - begin;
  evaluated_update_ = updates_;
  // Only regular evaluations count for `best` of later rungs: it must not depend on which rungs a bracket
  // has.
  if (AtRegularEvaluation() && Better(last_)) best_ = last_;
  if (clock_.Steady() - last_metric_ >= kMetricInterval || updates_ == plan_.end_update) {
    last_metric_ = clock_.Steady();
    RUNG_RETURN_IF_ERROR(pipe_.Metric(updates_, plan_.scale.Charged(updates_, rows_read_), last_));
  }
  return true;
}

absl::StatusOr<RunEnd> TrainingRun::RunUpdate() {
  const int64_t per_epoch = plan_.scale.updates_per_epoch();
  const int64_t epoch = updates_ / per_epoch;
  if (epoch != epoch_) {
    epoch_batches_ = EpochBatches(lengths_, plan_.batch_size, plan_.seed, epoch);
    epoch_ = epoch;
  }
  if (updates_ % per_epoch == 0) running_ = TaskTally(model_.task(), model_.labels());
  const size_t first = static_cast<size_t>((updates_ % per_epoch) * plan_.accumulation);
  const size_t end = std::min(epoch_batches_.size(), first + static_cast<size_t>(plan_.accumulation));
  size_t rows = 0;
  double weight = 0;
  for (size_t i = first; i < end; ++i) {
    rows += epoch_batches_[i].size();
    for (const int row : epoch_batches_[i])
      weight += static_cast<double>(data_.train[static_cast<size_t>(row)].weight);
  }
  for (size_t i = first; i < end; ++i) {
    const PackedBatch batch = PackBatch(data_.train, epoch_batches_[i]);
    // Each micro-batch weighs what it holds: the last one of an epoch may be smaller.
    const BatchOutcome outcome =
        model_.Train(batch, {plan_.seed, updates_, static_cast<int64_t>(i - first)}, 1.0 / weight);
    if (!std::isfinite(outcome.loss_sum)) return RunEnd::kDiverged;
    running_.Add(batch, outcome);
  }
  const double rate = plan_.schedule.learning_rate * ScheduleFactor(plan_.schedule, updates_);
  if (!std::isfinite(updater_.Update(rate))) return RunEnd::kDiverged;
  ++updates_;
  rows_read_ += static_cast<int64_t>(rows);
  return RunEnd::kFinished;
}

absl::StatusOr<RunEnd> TrainingRun::Run() {
  while (true) {
    const bool at_end = updates_ >= plan_.end_update;
    const bool pending = at_end || (AtRegularEvaluation() && evaluated_update_ != updates_);
    if (pending && !requests_.stop) RUNG_RETURN_IF_ERROR(Evaluate().status());
    if (requests_.stop) {
      RUNG_RETURN_IF_ERROR(SaveCheckpoint());
      return RunEnd::kReleased;
    }
    if (at_end) break;
    if (requests_.checkpoint || clock_.Steady() - last_checkpoint_ >= plan_.checkpoint_every) {
      RUNG_RETURN_IF_ERROR(SaveCheckpoint());
    }
    const absl::Duration begin = clock_.Steady();
    RUNG_ASSIGN_OR_RETURN(const RunEnd end, RunUpdate());
    train_time_ += clock_.Steady() - begin;
    if (end != RunEnd::kFinished) return end;
  }
  RUNG_RETURN_IF_ERROR(SaveCheckpoint());
  const auto score = last_.find(plan_.metric);
  if (score != last_.end() && !std::isfinite(score->second)) return RunEnd::kDiverged;
  return RunEnd::kFinished;
}

MetricValues TrainingRun::Values() const {
  MetricValues values = last_;
  if (plan_.report_best && !best_.empty() && !Better(last_)) values = best_;
  values["train/updates"] = static_cast<double>(updates_);
  values["train/rows"] = static_cast<double>(rows_read_);
  values["train/budget"] = plan_.scale.Charged(updates_, rows_read_);
  values["train/seconds"] = absl::ToDoubleSeconds(train_time_);
  values["validation/seconds"] = absl::ToDoubleSeconds(evaluation_time_);
  return values;
}

}  // namespace rung
