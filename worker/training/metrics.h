// Scores of a classifier from what it predicted. Values; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rung {

class Tally {
 public:
  explicit Tally(int labels)
      : labels_(labels), matrix_(static_cast<size_t>(labels) * static_cast<size_t>(labels)) {}

  // logits: (n, labels); the predicted class is the first of the largest.
  void Add(const std::vector<int64_t>& truths, const std::vector<float>& logits, double loss_sum);
  void AddOne(int truth, int predicted, double loss);

  int64_t rows() const { return rows_; }
  double Loss() const;  // mean; NaN without rows
  double Accuracy() const;
  // Macro and weighted F1 as scikit-learn's defaults: classes that neither occur nor are predicted do not
  // count; 0/0 = 0.
  double F1Macro() const;
  double F1Weighted() const;
  // {"loss", "accuracy", "f1_macro", "f1_weighted"}, each after `prefix`.
  std::map<std::string, double> Values(const std::string& prefix) const;

  // matrix[truth][predicted].
  int64_t Count(int truth, int predicted) const;
  const std::vector<int64_t>& matrix() const { return matrix_; }
  double loss_sum() const { return loss_sum_; }
  // As kept in a checkpoint.
  void Restore(std::vector<int64_t> matrix, double loss_sum);

 private:
  int labels_;
  int64_t rows_ = 0;
  double loss_sum_ = 0;
  std::vector<int64_t> matrix_;
};

}  // namespace rung
