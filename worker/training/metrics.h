// Scores of a model from what it predicted, equal to scikit-learn's and scipy's. Values; one thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace rung {

// Of one class against all others; 0/0 = 0.
struct ClassScore {
  double precision = 0, recall = 0, f1 = 0;
  int64_t support = 0;    // rows of the class
  int64_t predicted = 0;  // rows that were taken for it
};
ClassScore ScoreOfClass(int64_t hits, int64_t support, int64_t predicted);

// Precision, recall and F1 over classes. Macro: classes that neither occur nor are predicted do not count, if
// `present_only`. Weighted: by support. NaN without classes.
struct AverageScores {
  double precision_macro = 0, recall_macro = 0, f1_macro = 0;
  double precision_weighted = 0, recall_weighted = 0, f1_weighted = 0;
};
AverageScores Average(const std::vector<ClassScore>& classes, bool present_only);

// Single-label classification.
class Tally {
 public:
  explicit Tally(int labels)
      : labels_(labels), matrix_(static_cast<size_t>(labels) * static_cast<size_t>(labels)) {}

  // logits: (n, labels); the predicted class is the first of the largest.
  void Add(const std::vector<int64_t>& truths, const std::vector<float>& logits);
  void AddOne(int truth, int predicted);

  int64_t rows() const { return rows_; }
  double Accuracy() const;  // NaN without rows
  ClassScore OfClass(int label) const;
  AverageScores Averages() const;
  // Matthews' correlation coefficient for several classes (Gorodkin 2004); 0 where one side is constant.
  double Mcc() const;
  // {"accuracy", "mcc", "f1_micro", and AverageScores' names}, each after `prefix`.
  std::map<std::string, double> Values(const std::string& prefix) const;

  // matrix[truth][predicted].
  int64_t Count(int truth, int predicted) const;
  // As kept in a checkpoint.
  const std::vector<int64_t>& counts() const { return matrix_; }
  void Restore(std::vector<int64_t> counts);

 private:
  int labels_;
  int64_t rows_ = 0;
  std::vector<int64_t> matrix_;
};

// Classification where a row may have several labels or none.
class MultiLabelTally {
 public:
  explicit MultiLabelTally(int labels) : counts_(static_cast<size_t>(labels)) {}
  // Both: one entry a label.
  void AddRow(std::span<const bool> truth, std::span<const bool> predicted);
  // Both: (n, labels); a label is predicted where its logit is above 0, its probability above 1/2.
  void Add(std::span<const float> truths, std::span<const float> logits);

  int64_t rows() const { return rows_; }
  double Accuracy() const;  // rows that are right in every label
  double F1Micro() const;
  ClassScore OfClass(int label) const;
  // Over all labels, present or not.
  AverageScores Averages() const;
  // As Tally::Values, without "mcc".
  std::map<std::string, double> Values(const std::string& prefix) const;

  // Rows by whether they have a label and whether they were taken for it: count[truth][predicted].
  std::array<std::array<int64_t, 2>, 2> Matrix(int label) const;
  // As kept in a checkpoint.
  std::vector<int64_t> counts() const;
  void Restore(const std::vector<int64_t>& counts);

 private:
  struct Counts {
    int64_t hits = 0, support = 0, predicted = 0;
  };
  std::vector<Counts> counts_;
  int64_t rows_ = 0, right_ = 0;
};

// NaN with fewer than two rows, and where a side is constant. Both sides of one length.
double PearsonCorrelation(std::span<const double> a, std::span<const double> b);
// Of the ranks; equal values share their mean rank.
double SpearmanCorrelation(std::span<const double> a, std::span<const double> b);

}  // namespace rung
