// What the rows of an evaluation or of an epoch come to, whatever the task: the loss, and the scores of
// metrics.h. Values; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "worker/model/classifier.h"
#include "worker/training/metrics.h"

namespace rung {

// Values beside those that were predicted for them.
struct ValuePairs {
  std::vector<double> truths, predicted;
};

class TaskTally {
 public:
  TaskTally(Task task, int labels);

  void Add(const PackedBatch& batch, const BatchOutcome& outcome);

  int64_t rows() const { return rows_; }
  double Loss() const;  // weighted mean, as torch has it; NaN without rows
  // "loss" and the scores of the task, each after `prefix`: those of Tally, of MultiLabelTally, or "pearson"
  // and "spearman".
  std::map<std::string, double> Values(const std::string& prefix) const;
  // The same of an epoch that is being trained: the loss alone of a regression, whose rows no checkpoint
  // keeps.
  std::map<std::string, double> RunningValues(const std::string& prefix) const;

  // Null for other tasks.
  const Tally* single_label() const { return std::get_if<Tally>(&counts_); }
  const MultiLabelTally* multi_label() const { return std::get_if<MultiLabelTally>(&counts_); }

  // What a checkpoint keeps of it.
  nlohmann::json State() const;
  void Restore(const nlohmann::json& state);

 private:
  int64_t rows_ = 0;
  double loss_sum_ = 0, weight_sum_ = 0;
  std::variant<Tally, MultiLabelTally, ValuePairs> counts_;
};

}  // namespace rung
