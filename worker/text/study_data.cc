#include "worker/text/study_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr size_t kRowsThatShow = 20;  // in fewer rows any labels may all differ

std::vector<Example> Take(const std::vector<Example>& examples, const std::vector<int>& rows) {
  std::vector<Example> out;
  out.reserve(rows.size());
  for (const int row : rows) out.push_back(examples[static_cast<size_t>(row)]);
  return out;
}

absl::Status TooFewRows(const Dataset& dataset, const std::string& split) {
  const std::string rows = absl::StrFormat("%d", dataset.examples.size());
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0412",
       absl::StrFormat("%s rows with %d labels are too few for %s", rows, dataset.labels.size(), split),
       dataset.path, rows, "Give more rows, or a validation file of its own"});
}

absl::Status SplitTraining(Dataset dataset, const TextOptions& options, std::optional<int> fold,
                           StudyData* data) {
  Split split;
  if (options.folds > 0) {
    RUNG_CHECK(fold.has_value(), "a study with folds names one in each attempt");
    if (dataset.examples.size() < static_cast<size_t>(options.folds)) {
      return TooFewRows(dataset, absl::StrFormat("%d folds", options.folds));
    }
    split = SplitFold(dataset, *fold, options.folds, options.split_seed);
  } else {
    split = SplitShare(dataset, options.validation_share, options.split_seed);
  }
  if (split.train.empty() || split.validation.empty()) return TooFewRows(dataset, "a validation set");
  data->train = Take(dataset.examples, split.train);
  data->validation = Take(dataset.examples, split.validation);
  return absl::OkStatus();
}

absl::Status WeightsError(const std::string& message, const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0415", message, "trainer.class_weights", value, mend});
}

// As scikit-learn's compute_class_weight; a class that no training row has weighs 1.
std::vector<double> BalancedWeights(const StudyData& data) {
  std::vector<double> rows(data.labels.size());
  for (const Example& example : data.train) ++rows[static_cast<size_t>(example.label)];
  const auto classes =
      static_cast<double>(std::count_if(rows.begin(), rows.end(), [](double count) { return count > 0; }));
  std::vector<double> weights;
  for (const double count : rows)
    weights.push_back(count > 0 ? static_cast<double>(data.train.size()) / (classes * count) : 1);
  return weights;
}

absl::StatusOr<std::vector<double>> NamedWeights(const std::map<std::string, double>& named,
                                                 const std::vector<std::string>& labels) {
  std::vector<double> weights(labels.size(), 1);
  for (const auto& [name, weight] : named) {
    const auto found = std::find(labels.begin(), labels.end(), name);
    if (found == labels.end()) {
      const std::string close = ClosestName(name, labels);
      return WeightsError(
          absl::StrFormat("the training data has no label \"%s\" to weigh", name), name,
          close.empty() ? "Name labels that the data has" : absl::StrFormat("Did you mean \"%s\"?", close));
    }
    weights[static_cast<size_t>(found - labels.begin())] = weight;
  }
  return weights;
}

absl::Status Weigh(const ClassWeights& wanted, StudyData* data) {
  std::vector<double> weights = wanted.listed;
  if (wanted.balanced) weights = BalancedWeights(*data);
  if (!wanted.named.empty()) {
    RUNG_ASSIGN_OR_RETURN(weights, NamedWeights(wanted.named, data->labels));
  }
  if (weights.empty()) return absl::OkStatus();
  if (weights.size() != data->labels.size()) {
    return WeightsError(
        absl::StrFormat("there are %d weights for %d labels", weights.size(), data->labels.size()),
        absl::StrFormat("%d", weights.size()), "List a weight for each label, or name labels");
  }
  for (std::vector<Example>* examples : {&data->train, &data->validation, &data->test}) {
    for (Example& example : *examples)
      example.weight = static_cast<float>(weights[static_cast<size_t>(example.label)]);
  }
  return absl::OkStatus();
}

// A label that is unknown, or too rare for a split.
absl::Status ExplainLabels(const absl::Status& status, bool look_like_texts) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!look_like_texts || !detail.has_value() || (detail->code != "E0406" && detail->code != "E0412"))
    return status;
  detail->mend =
      "Nearly every row of the training data has a label of its own: look whether trainer.text and "
      "trainer.label are swapped";
  return MakeError(status.code(), *std::move(detail));
}

}  // namespace

bool LooksLikeTexts(size_t labels, size_t rows) {
  return rows >= kRowsThatShow && 5 * labels >= 4 * rows;
}

absl::StatusOr<StudyData> LoadStudyData(const TextOptions& options, std::optional<int> fold) {
  const DatasetColumns columns{options.text_columns, options.label_columns, options.task,
                               options.label_separator};
  StudyData data;
  RUNG_ASSIGN_OR_RETURN(Dataset train, LoadDataset(options.train, columns, std::nullopt));
  data.labels = train.labels;
  const bool look_like_texts = LooksLikeTexts(train.labels.size(), train.examples.size());
  const auto load = [&](const std::string& path, std::vector<Example>* examples) {
    absl::StatusOr<Dataset> dataset = LoadDataset(path, columns, data.labels);
    if (dataset.ok()) *examples = std::move(dataset->examples);
    return ExplainLabels(dataset.status(), look_like_texts);
  };
  if (options.validation_path.empty()) {
    RUNG_RETURN_IF_ERROR(
        ExplainLabels(SplitTraining(std::move(train), options, fold, &data), look_like_texts));
  } else {
    data.train = std::move(train.examples);
    RUNG_RETURN_IF_ERROR(load(options.validation_path, &data.validation));
  }
  if (!options.test.empty()) RUNG_RETURN_IF_ERROR(load(options.test, &data.test));
  if (options.limit_rows) {
    data.train.resize(std::min(data.train.size(), static_cast<size_t>(*options.limit_rows)));
  }
  RUNG_RETURN_IF_ERROR(Weigh(options.class_weights, &data));
  return data;
}

}  // namespace rung
