#include "worker/training/task_tally.h"

#include <limits>

namespace rung {
namespace {

std::variant<Tally, MultiLabelTally, ValuePairs> NoCounts(Task task, int labels) {
  switch (task) {
    case Task::kSingleLabel:
      return Tally(labels);
    case Task::kMultiLabel:
      return MultiLabelTally(labels);
    case Task::kRegression:
      break;
  }
  return ValuePairs();
}

}  // namespace

TaskTally::TaskTally(Task task, int labels) : counts_(NoCounts(task, labels)) {}

void TaskTally::Add(const PackedBatch& batch, const BatchOutcome& outcome) {
  rows_ += batch.sequences();
  loss_sum_ += outcome.loss_sum;
  weight_sum_ += batch.weight_sum();
  if (auto* tally = std::get_if<Tally>(&counts_)) {
    tally->Add(batch.labels, outcome.logits);
  } else if (auto* several = std::get_if<MultiLabelTally>(&counts_)) {
    several->Add(batch.targets, outcome.logits);
  } else {
    auto& pairs = std::get<ValuePairs>(counts_);
    pairs.truths.insert(pairs.truths.end(), batch.targets.begin(), batch.targets.end());
    pairs.predicted.insert(pairs.predicted.end(), outcome.logits.begin(), outcome.logits.end());
  }
}

double TaskTally::Loss() const {
  return rows_ == 0 ? std::numeric_limits<double>::quiet_NaN() : loss_sum_ / weight_sum_;
}

std::map<std::string, double> TaskTally::Values(const std::string& prefix) const {
  std::map<std::string, double> values;
  if (const Tally* tally = single_label()) {
    values = tally->Values(prefix);
  } else if (const MultiLabelTally* several = multi_label()) {
    values = several->Values(prefix);
  } else {
    const auto& [truths, predicted] = std::get<ValuePairs>(counts_);
    values[prefix + "pearson"] = PearsonCorrelation(truths, predicted);
    values[prefix + "spearman"] = SpearmanCorrelation(truths, predicted);
  }
  values[prefix + "loss"] = Loss();
  return values;
}

std::map<std::string, double> TaskTally::RunningValues(const std::string& prefix) const {
  if (std::holds_alternative<ValuePairs>(counts_)) return {{prefix + "loss", Loss()}};
  return Values(prefix);
}

nlohmann::json TaskTally::State() const {
  nlohmann::json state = {{"rows", rows_}, {"loss_sum", loss_sum_}, {"weight_sum", weight_sum_}};
  if (const Tally* tally = single_label()) state["counts"] = tally->counts();
  if (const MultiLabelTally* several = multi_label()) state["counts"] = several->counts();
  return state;
}

void TaskTally::Restore(const nlohmann::json& state) {
  rows_ = state.at("rows").get<int64_t>();
  loss_sum_ = state.at("loss_sum").get<double>();
  weight_sum_ = state.at("weight_sum").get<double>();
  if (auto* tally = std::get_if<Tally>(&counts_)) tally->Restore(state.at("counts"));
  if (auto* several = std::get_if<MultiLabelTally>(&counts_)) several->Restore(state.at("counts"));
}

}  // namespace rung
