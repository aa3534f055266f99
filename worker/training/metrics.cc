#include "worker/training/metrics.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace rung {
namespace {

struct ClassScore {
  double f1 = 0;
  int64_t support = 0, predicted = 0;
};

ClassScore ScoreOf(const Tally& tally, int labels, int label) {
  ClassScore score;
  for (int other = 0; other < labels; ++other) {
    score.support += tally.Count(label, other);
    score.predicted += tally.Count(other, label);
  }
  const int64_t both = score.support + score.predicted;
  if (both > 0) score.f1 = 2.0 * static_cast<double>(tally.Count(label, label)) / static_cast<double>(both);
  return score;
}

}  // namespace

void Tally::AddOne(int truth, int predicted, double loss) {
  RUNG_CHECK(truth >= 0 && truth < labels_ && predicted >= 0 && predicted < labels_,
             "labels are class indices");
  ++matrix_[static_cast<size_t>(truth * labels_ + predicted)];
  ++rows_;
  loss_sum_ += loss;
}

void Tally::Add(const std::vector<int64_t>& truths, const std::vector<float>& logits, double loss_sum) {
  RUNG_CHECK(logits.size() == truths.size() * static_cast<size_t>(labels_), "one row of logits per truth");
  for (size_t i = 0; i < truths.size(); ++i) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i) * labels_;
    const auto largest = std::max_element(begin, begin + labels_);
    AddOne(static_cast<int>(truths[i]), static_cast<int>(largest - begin), 0);
  }
  loss_sum_ += loss_sum;
}

int64_t Tally::Count(int truth, int predicted) const {
  return matrix_[static_cast<size_t>(truth * labels_ + predicted)];
}

double Tally::Loss() const {
  return rows_ == 0 ? std::numeric_limits<double>::quiet_NaN() : loss_sum_ / static_cast<double>(rows_);
}

double Tally::Accuracy() const {
  int64_t right = 0;
  for (int label = 0; label < labels_; ++label) right += Count(label, label);
  return rows_ == 0 ? std::numeric_limits<double>::quiet_NaN()
                    : static_cast<double>(right) / static_cast<double>(rows_);
}

double Tally::F1Macro() const {
  double total = 0;
  int classes = 0;
  for (int label = 0; label < labels_; ++label) {
    const ClassScore score = ScoreOf(*this, labels_, label);
    if (score.support + score.predicted == 0) continue;
    total += score.f1;
    ++classes;
  }
  return classes == 0 ? std::numeric_limits<double>::quiet_NaN() : total / classes;
}

double Tally::F1Weighted() const {
  double total = 0;
  for (int label = 0; label < labels_; ++label) {
    const ClassScore score = ScoreOf(*this, labels_, label);
    total += score.f1 * static_cast<double>(score.support);
  }
  return rows_ == 0 ? std::numeric_limits<double>::quiet_NaN() : total / static_cast<double>(rows_);
}

std::map<std::string, double> Tally::Values(const std::string& prefix) const {
  return {{prefix + "loss", Loss()},
          {prefix + "accuracy", Accuracy()},
          {prefix + "f1_macro", F1Macro()},
          {prefix + "f1_weighted", F1Weighted()}};
}

void Tally::Restore(std::vector<int64_t> matrix, double loss_sum) {
  RUNG_CHECK(matrix.size() == matrix_.size(), "a tally of as many labels");
  matrix_ = std::move(matrix);
  rows_ = std::accumulate(matrix_.begin(), matrix_.end(), int64_t{0});
  loss_sum_ = loss_sum;
}

}  // namespace rung
