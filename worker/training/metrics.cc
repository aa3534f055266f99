#include "worker/training/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "base/check.h"

namespace rung {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double Ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double MeanOrNaN(double sum, int64_t count) {
  return count == 0 ? kNaN : sum / static_cast<double>(count);
}

std::map<std::string, double> NamedAverages(const AverageScores& scores, const std::string& prefix) {
  return {{prefix + "precision_macro", scores.precision_macro},
          {prefix + "recall_macro", scores.recall_macro},
          {prefix + "f1_macro", scores.f1_macro},
          {prefix + "precision_weighted", scores.precision_weighted},
          {prefix + "recall_weighted", scores.recall_weighted},
          {prefix + "f1_weighted", scores.f1_weighted}};
}

std::vector<double> Ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double mean = static_cast<double>(begin + end + 1) / 2;  // ranks count from 1
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = mean;
    begin = end;
  }
  return ranks;
}

}  // namespace

ClassScore ScoreOfClass(int64_t hits, int64_t support, int64_t predicted) {
  return {Ratio(hits, predicted), Ratio(hits, support), Ratio(2 * hits, support + predicted), support,
          predicted};
}

AverageScores Average(const std::vector<ClassScore>& classes, bool present_only) {
  AverageScores sums;
  int64_t counted = 0, rows = 0;
  for (const ClassScore& score : classes) {
    if (present_only && score.support + score.predicted == 0) continue;
    const auto support = static_cast<double>(score.support);
    sums.precision_macro += score.precision;
    sums.recall_macro += score.recall;
    sums.f1_macro += score.f1;
    sums.precision_weighted += score.precision * support;
    sums.recall_weighted += score.recall * support;
    sums.f1_weighted += score.f1 * support;
    ++counted;
    rows += score.support;
  }
  // Without any true label scikit-learn's weighted mean is 0; without any class there is nothing to tell.
  const auto weighted = [&](double sum) { return rows == 0 && counted > 0 ? 0 : MeanOrNaN(sum, rows); };
  return {MeanOrNaN(sums.precision_macro, counted), MeanOrNaN(sums.recall_macro, counted),
          MeanOrNaN(sums.f1_macro, counted),        weighted(sums.precision_weighted),
          weighted(sums.recall_weighted),           weighted(sums.f1_weighted)};
}

void Tally::AddOne(int truth, int predicted) {
  RUNG_CHECK(truth >= 0 && truth < labels_ && predicted >= 0 && predicted < labels_,
             "labels are class indices");
  ++matrix_[static_cast<size_t>(truth * labels_ + predicted)];
  ++rows_;
}

void Tally::Add(const std::vector<int64_t>& truths, const std::vector<float>& logits) {
  RUNG_CHECK(logits.size() == truths.size() * static_cast<size_t>(labels_), "one row of logits per truth");
  for (size_t i = 0; i < truths.size(); ++i) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i) * labels_;
    const auto largest = std::max_element(begin, begin + labels_);
    AddOne(static_cast<int>(truths[i]), static_cast<int>(largest - begin));
  }
}

int64_t Tally::Count(int truth, int predicted) const {
  return matrix_[static_cast<size_t>(truth * labels_ + predicted)];
}

double Tally::Accuracy() const {
  int64_t right = 0;
  for (int label = 0; label < labels_; ++label) right += Count(label, label);
  return MeanOrNaN(static_cast<double>(right), rows_);
}

ClassScore Tally::OfClass(int label) const {
  int64_t support = 0, predicted = 0;
  for (int other = 0; other < labels_; ++other) {
    support += Count(label, other);
    predicted += Count(other, label);
  }
  return ScoreOfClass(Count(label, label), support, predicted);
}

AverageScores Tally::Averages() const {
  std::vector<ClassScore> classes;
  for (int label = 0; label < labels_; ++label) classes.push_back(OfClass(label));
  return Average(classes, /*present_only=*/true);
}

double Tally::Mcc() const {
  if (rows_ == 0) return kNaN;
  const auto rows = static_cast<double>(rows_);
  double right = 0, both = 0, truths = 0, guesses = 0;
  for (int label = 0; label < labels_; ++label) {
    const ClassScore score = OfClass(label);
    const auto support = static_cast<double>(score.support), predicted = static_cast<double>(score.predicted);
    right += static_cast<double>(Count(label, label));
    both += support * predicted;
    truths += support * support;
    guesses += predicted * predicted;
  }
  const double spread = (rows * rows - truths) * (rows * rows - guesses);
  return spread == 0 ? 0 : (right * rows - both) / std::sqrt(spread);
}

std::map<std::string, double> Tally::Values(const std::string& prefix) const {
  std::map<std::string, double> values = NamedAverages(Averages(), prefix);
  values[prefix + "accuracy"] = Accuracy();
  // Of one label a row, hits, misses and false alarms summed over the classes make the accuracy.
  values[prefix + "f1_micro"] = Accuracy();
  values[prefix + "mcc"] = Mcc();
  return values;
}

void Tally::Restore(std::vector<int64_t> counts) {
  RUNG_CHECK(counts.size() == matrix_.size(), "a tally of as many labels");
  matrix_ = std::move(counts);
  rows_ = std::accumulate(matrix_.begin(), matrix_.end(), int64_t{0});
}

void MultiLabelTally::AddRow(std::span<const bool> truth, std::span<const bool> predicted) {
  RUNG_CHECK(truth.size() == counts_.size() && predicted.size() == counts_.size(), "one entry a label");
  bool right = true;
  for (size_t label = 0; label < counts_.size(); ++label) {
    counts_[label].hits += truth[label] && predicted[label] ? 1 : 0;
    counts_[label].support += truth[label] ? 1 : 0;
    counts_[label].predicted += predicted[label] ? 1 : 0;
    right = right && truth[label] == predicted[label];
  }
  ++rows_;
  right_ += right ? 1 : 0;
}

void MultiLabelTally::Add(std::span<const float> truths, std::span<const float> logits) {
  const size_t labels = counts_.size();
  RUNG_CHECK(truths.size() == logits.size() && truths.size() % labels == 0, "one logit per truth");
  const auto truth = std::make_unique<bool[]>(labels), predicted = std::make_unique<bool[]>(labels);
  for (size_t row = 0; row < truths.size(); row += labels) {
    for (size_t label = 0; label < labels; ++label) {
      truth[label] = truths[row + label] > 0.5F;
      predicted[label] = logits[row + label] > 0;
    }
    AddRow({truth.get(), labels}, {predicted.get(), labels});
  }
}

std::array<std::array<int64_t, 2>, 2> MultiLabelTally::Matrix(int label) const {
  const auto& [hits, support, predicted] = counts_[static_cast<size_t>(label)];
  return {{{rows_ - support - predicted + hits, predicted - hits}, {support - hits, hits}}};
}

std::vector<int64_t> MultiLabelTally::counts() const {
  std::vector<int64_t> all = {rows_, right_};
  for (const auto& [hits, support, predicted] : counts_) all.insert(all.end(), {hits, support, predicted});
  return all;
}

void MultiLabelTally::Restore(const std::vector<int64_t>& counts) {
  RUNG_CHECK(counts.size() == 2 + 3 * counts_.size(), "a tally of as many labels");
  rows_ = counts[0];
  right_ = counts[1];
  for (size_t label = 0; label < counts_.size(); ++label)
    counts_[label] = {counts[2 + 3 * label], counts[3 + 3 * label], counts[4 + 3 * label]};
}

double MultiLabelTally::Accuracy() const {
  return MeanOrNaN(static_cast<double>(right_), rows_);
}

double MultiLabelTally::F1Micro() const {
  int64_t hits = 0, either = 0;
  for (const Counts& label : counts_) {
    hits += label.hits;
    either += label.support + label.predicted;
  }
  return rows_ == 0 ? kNaN : Ratio(2 * hits, either);
}

ClassScore MultiLabelTally::OfClass(int label) const {
  const Counts& counts = counts_[static_cast<size_t>(label)];
  return ScoreOfClass(counts.hits, counts.support, counts.predicted);
}

AverageScores MultiLabelTally::Averages() const {
  std::vector<ClassScore> classes;
  for (size_t label = 0; label < counts_.size(); ++label) classes.push_back(OfClass(static_cast<int>(label)));
  return Average(classes, /*present_only=*/false);
}

std::map<std::string, double> MultiLabelTally::Values(const std::string& prefix) const {
  std::map<std::string, double> values = NamedAverages(Averages(), prefix);
  values[prefix + "accuracy"] = Accuracy();
  values[prefix + "f1_micro"] = F1Micro();
  return values;
}

double PearsonCorrelation(std::span<const double> a, std::span<const double> b) {
  RUNG_CHECK(a.size() == b.size(), "two sides of one length");
  if (a.size() < 2) return kNaN;
  const auto count = static_cast<long double>(a.size());
  const long double mean_a = std::accumulate(a.begin(), a.end(), 0.0L) / count;
  const long double mean_b = std::accumulate(b.begin(), b.end(), 0.0L) / count;
  long double both = 0, square_a = 0, square_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const long double from_a = a[i] - mean_a, from_b = b[i] - mean_b;
    both += from_a * from_b;
    square_a += from_a * from_a;
    square_b += from_b * from_b;
  }
  if (square_a == 0 || square_b == 0) return kNaN;
  return static_cast<double>(std::clamp(both / std::sqrt(square_a) / std::sqrt(square_b), -1.0L, 1.0L));
}

double SpearmanCorrelation(std::span<const double> a, std::span<const double> b) {
  return PearsonCorrelation(Ranks(a), Ranks(b));
}

}  // namespace rung
