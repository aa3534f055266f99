// What a model says of rows as people read it: labels, probabilities, CSV. Free of torch headers.
// Thread-safe: functions only.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "worker/text/dataset.h"

namespace rung {

std::string CsvCell(const std::string& text);

// Of each label, in double: softmax of the logits, or each one's sigmoid; of a regression the logits
// themselves.
std::vector<double> Probabilities(Task task, std::span<const float> logits);

// The label with the largest logit (the first of them); multi-label: those with a logit above 0, joined by
// commas; regression: the value.
std::string PredictedLabels(Task task, const std::vector<std::string>& labels, std::span<const float> logits);
// The same of the labels that the example has.
std::string TrueLabels(Task task, const std::vector<std::string>& labels, const Example& example);

// CSV with a header: text (and pair), label, predicted, probability, for each example whose predicted labels
// are not its own; the surest first. Multi-label: the probability of all that was predicted, labels taken as
// independent. logits: (examples, labels). Not for regression.
std::string FalsePredictions(Task task, const std::vector<std::string>& labels,
                             const std::vector<Example>& examples, std::span<const float> logits, bool pairs);

}  // namespace rung
