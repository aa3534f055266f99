#include "worker/training/predictions.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"

namespace rung {
namespace {

double Sigmoid(double logit) {
  return 1 / (1 + std::exp(-logit));
}

size_t Largest(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Of what PredictedLabels names.
double PredictedProbability(Task task, std::span<const float> logits) {
  const std::vector<double> values = Probabilities(task, logits);
  if (task == Task::kSingleLabel) return values[Largest(logits)];
  double product = 1;
  for (const double value : values) product *= std::max(value, 1 - value);
  return product;
}

}  // namespace

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  return "\"" + absl::StrReplaceAll(text, {{"\"", "\"\""}}) + "\"";
}

std::vector<double> Probabilities(Task task, std::span<const float> logits) {
  std::vector<double> values(logits.begin(), logits.end());
  if (task == Task::kRegression) return values;
  if (task == Task::kMultiLabel) {
    std::transform(values.begin(), values.end(), values.begin(), Sigmoid);
    return values;
  }
  const double largest = *std::max_element(values.begin(), values.end());
  double total = 0;
  for (double& value : values) total += value = std::exp(value - largest);
  for (double& value : values) value /= total;
  return values;
}

std::string PredictedLabels(Task task, const std::vector<std::string>& labels,
                            std::span<const float> logits) {
  if (task == Task::kRegression) return absl::StrFormat("%.9g", logits[0]);
  if (task == Task::kSingleLabel) return labels[Largest(logits)];
  std::vector<std::string> names;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (logits[i] > 0) names.push_back(labels[i]);
  }
  return absl::StrJoin(names, ",");
}

std::string TrueLabels(Task task, const std::vector<std::string>& labels, const Example& example) {
  if (task == Task::kSingleLabel) return labels[static_cast<size_t>(example.label)];
  return PredictedLabels(task, labels, example.targets);  // a target of 0 or 1 reads as such a logit does
}

std::string FalsePredictions(Task task, const std::vector<std::string>& labels,
                             const std::vector<Example>& examples, std::span<const float> logits,
                             bool pairs) {
  RUNG_CHECK(task != Task::kRegression && logits.size() == examples.size() * labels.size(),
             "rows with labels");
  struct Row {
    const Example* example;
    std::string truth, predicted;
    double probability;
  };
  std::vector<Row> rows;
  for (size_t i = 0; i < examples.size(); ++i) {
    const auto own = logits.subspan(i * labels.size(), labels.size());
    Row row = {&examples[i], TrueLabels(task, labels, examples[i]), PredictedLabels(task, labels, own), 0};
    if (row.truth == row.predicted) continue;
    row.probability = PredictedProbability(task, own);
    rows.push_back(std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.probability > b.probability; });
  std::string csv = pairs ? "text,pair,label,predicted,probability\n" : "text,label,predicted,probability\n";
  for (const Row& row : rows) {
    csv += CsvCell(row.example->text) + "," + (pairs ? CsvCell(row.example->pair) + "," : "") +
           CsvCell(row.truth) + "," + CsvCell(row.predicted) + absl::StrFormat(",%.9g\n", row.probability);
  }
  return csv;
}

}  // namespace rung
