// What a trainer trains on and is judged by: the files of TextOptions loaded, split, and cut. The check
// before a study is stored and the trainer itself read data only through here. Values; thread-safe after
// loading.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/dataset.h"
#include "worker/text/trainer_options.h"

namespace rung {

struct StudyData {
  std::vector<std::string> labels;  // Dataset::labels of the training file
  std::vector<Example> train, validation, test;
};

// `fold` is needed where options.folds > 0. Errors as LoadDataset; InvalidArgument (E0412: too few rows for
// the split; E0415: class weights that do not fit the labels). Where
// labels look like texts the mend of E0406 and E0412 says so.
absl::StatusOr<StudyData> LoadStudyData(const TextOptions& options, std::optional<int> fold);

// So many different labels in so many rows that they are hardly classes: nearly every row has one of its own.
bool LooksLikeTexts(size_t labels, size_t rows);

}  // namespace rung
