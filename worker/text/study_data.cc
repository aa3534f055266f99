#include "worker/text/study_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

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

}  // namespace

absl::StatusOr<StudyData> LoadStudyData(const TextOptions& options, std::optional<int> fold) {
  const DatasetColumns columns{options.text_columns, options.label_columns, options.task,
                               options.label_separator};
  StudyData data;
  RUNG_ASSIGN_OR_RETURN(Dataset train, LoadDataset(options.train, columns, std::nullopt));
  data.labels = train.labels;
  if (options.validation_path.empty()) {
    RUNG_RETURN_IF_ERROR(SplitTraining(std::move(train), options, fold, &data));
  } else {
    data.train = std::move(train.examples);
    RUNG_ASSIGN_OR_RETURN(Dataset validation, LoadDataset(options.validation_path, columns, data.labels));
    data.validation = std::move(validation.examples);
  }
  if (!options.test.empty()) {
    RUNG_ASSIGN_OR_RETURN(Dataset test, LoadDataset(options.test, columns, data.labels));
    data.test = std::move(test.examples);
  }
  if (options.limit_rows) {
    data.train.resize(std::min(data.train.size(), static_cast<size_t>(*options.limit_rows)));
  }
  return data;
}

}  // namespace rung
