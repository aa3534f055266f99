// Labelled texts from CSV, TSV or JSONL; splits and folds. Values; thread-safe after loading.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/task.h"

namespace rung {

struct Example {
  std::string text;
  std::string pair;  // empty for single sentences
  int label = 0;     // single-label: index into Dataset::labels
  int line = 0;      // 1-based line in its file where the row starts
  // Multi-label: 1 or 0 for each of Dataset::labels; regression: the value.
  std::vector<float> targets = {};
  float weight = 1;  // of the row's loss
};

struct Dataset {
  std::string path;
  // Class names, sorted (numbers numerically); multi-label by columns, and regression: the columns.
  std::vector<std::string> labels;
  std::vector<Example> examples;
};

struct DatasetColumns {
  std::vector<std::string> text;  // one or two column names
  // One column; multi-label: a column of 0 and 1 for each label, or one column of names.
  std::vector<std::string> label;
  Task task = Task::kSingleLabel;
  std::string separator = ",";  // between the names of one row
};

// The separator (, ; tab) is found out from the header line, quotes may be " or ' , newlines may stand in
// quotes, a BOM is skipped; .jsonl by extension. With `labels`, those are the only ones allowed (a label in
// validation that training lacks is an error); without, they are collected from the file. A row without any
// name has none of the labels, where labels are names. Errors, each InvalidArgument with where = "file:line":
// E0401 empty file, E0402 missing column (names the columns there are), E0403 invalid UTF-8, E0404 wrong
// number of fields, E0405 one label only, E0406 unknown label, E0407 unterminated quote, E0408 empty label,
// E0414 a label that is no 0 or 1 or no number; NotFound (E0409).
absl::StatusOr<Dataset> LoadDataset(const std::string& path, const DatasetColumns& columns,
                                    const std::optional<std::vector<std::string>>& labels);

// Why the file at `path` cannot be read, for who wrote its name: NotFound or, of a directory, InvalidArgument
// (E0409); other errors as they are.
absl::Status DataFileError(const absl::Status& read_error, const std::string& path);

// Rows without labels (label 0), in the file's order: text that `rung model predict` labels, whose options
// the mends name. Errors as LoadDataset, but for labels.
absl::StatusOr<std::vector<Example>> LoadTexts(const std::string& path,
                                               const std::vector<std::string>& columns);

struct Split {
  std::vector<int> train;  // indices into Dataset::examples, ascending
  std::vector<int> validation;
};
// A function of (split_seed, rows) only, stratified by the label where a row has one. share in (0, 1). Every
// class keeps at least one row in train.
Split SplitShare(const Dataset& dataset, double share, int64_t split_seed);
// Fold k of n, stratified alike: the n validation sets are disjoint and cover everything.
Split SplitFold(const Dataset& dataset, int fold, int folds, int64_t split_seed);

}  // namespace rung
