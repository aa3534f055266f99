#include "worker/text/data_findings.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace rung {
namespace {

constexpr double kManyEmpty = 0.05;  // of the texts of a set

std::string Key(const Example& example) {
  return example.text + '\0' + example.pair;
}

std::unordered_set<std::string> TextsOf(const std::vector<Example>& examples) {
  std::unordered_set<std::string> texts;
  for (const Example& example : examples) texts.insert(Key(example));
  return texts;
}

size_t CountIn(const std::unordered_set<std::string>& texts, const std::vector<Example>& examples) {
  return static_cast<size_t>(std::count_if(examples.begin(), examples.end(), [&](const Example& example) {
    return texts.contains(Key(example));
  }));
}

bool IsMost(size_t count, size_t all) {
  return count > 0 && 2 * count >= all;
}

// Validation rows that are trained on make every score too good.
void WarnOfCopies(const StudyData& data, const TextOptions& options, std::vector<std::string>& warnings) {
  const std::unordered_set<std::string> trained = TextsOf(data.train);
  for (const auto& [name, examples] :
       {std::pair{"validation", &data.validation}, std::pair{"test", &data.test}}) {
    const size_t copies = CountIn(trained, *examples);
    if (copies == 0) continue;
    warnings.push_back(absl::StrFormat(
        "%d of %d %s texts stand in the training data of %s too%s", copies, examples->size(), name,
        options.train,
        IsMost(copies, examples->size()) ? ": scores on them say nothing about texts that are new" : ""));
  }
  const size_t copies = CountIn(TextsOf(data.test), data.validation);
  if (!IsMost(copies, data.validation.size())) return;
  warnings.push_back(absl::StrFormat(
      "%d of %d validation texts stand in the test data of %s too: the test judges by what the "
      "search has chosen by",
      copies, data.validation.size(), options.test));
}

void WarnOfEmpty(const StudyData& data, std::vector<std::string>& warnings) {
  const auto is_empty = [](const std::string& text) { return absl::StripAsciiWhitespace(text).empty(); };
  for (const auto& [name, examples] :
       {std::pair{"training", &data.train}, std::pair{"validation", &data.validation},
        std::pair{"test", &data.test}}) {
    const auto empty = std::count_if(examples->begin(), examples->end(), [&](const Example& example) {
      return is_empty(example.text) && is_empty(example.pair);
    });
    if (static_cast<double>(empty) > kManyEmpty * static_cast<double>(examples->size()))
      warnings.push_back(absl::StrFormat("%d of %d %s texts are empty", empty, examples->size(), name));
  }
}

void WarnOfLabels(const StudyData& data, const TextOptions& options, std::vector<std::string>& warnings) {
  if (options.label_columns.size() != 1) return;  // a column for each label
  const TrainingClasses found = ClassesOf(data, options);
  const auto labels = static_cast<size_t>(std::count_if(found.classes.begin(), found.classes.end(),
                                                        [](const auto& each) { return each.second > 0; }));
  if (!LooksLikeTexts(labels, data.train.size())) return;
  warnings.push_back(
      absl::StrFormat("the column \"%s\" has %d different labels in %d training rows of %s: are trainer.text "
                      "and trainer.label swapped?",
                      options.label_columns.front(), labels, data.train.size(), options.train));
}

}  // namespace

TrainingClasses ClassesOf(const StudyData& data, const TextOptions& options) {
  TrainingClasses found;
  found.path = options.train;
  found.rows = static_cast<int64_t>(data.train.size());
  if (options.task == Task::kRegression) return found;
  for (const std::string& label : data.labels) found.classes.emplace_back(label, 0);
  for (const Example& example : data.train) {
    if (options.task == Task::kSingleLabel) ++found.classes[static_cast<size_t>(example.label)].second;
    for (size_t i = 0; i < example.targets.size(); ++i) {
      if (example.targets[i] > 0) ++found.classes[i].second;
    }
  }
  return found;
}

std::vector<std::string> DataWarnings(const StudyData& data, const TextOptions& options) {
  std::vector<std::string> warnings;
  WarnOfCopies(data, options, warnings);
  WarnOfEmpty(data, warnings);
  WarnOfLabels(data, options, warnings);
  return warnings;
}

}  // namespace rung
