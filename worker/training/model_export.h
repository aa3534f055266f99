// A checkpoint as a Hugging Face model directory, and text labelled by one. Free of torch headers; may throw
// what torch throws.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rung {

// Writes the newest good checkpoint of `checkpoints` (a checkpoint_dir of docs/trainer-messages.md) into
// `directory`, which must be missing or empty: config.json with the class names and problem_type,
// model.safetensors, the tokenizer's files, and rung.json (text columns, max_seq_length). A head that is not
// the family's own is no class of Hugging Face's: config.json names no architecture then, and README.md says
// so. Errors: NotFound
// (E0758: no good checkpoint), FailedPrecondition (E0759: the directory is not empty, or a file; E0760: the
// base model changed or is gone), those of WriteSafetensors.
absl::Status ExportModel(const std::string& checkpoints, const std::string& directory);

struct PredictRequest {
  std::string model;                      // a model directory with a classification head
  std::string file;                       // CSV, TSV or JSONL
  std::vector<std::string> text_columns;  // empty: those that the model was trained on, else "sentence"
  std::string out;  // CSV: the texts, label and a probability for each label; of a regression: value
  int batch_size = 32;
  bool logits = false;  // in columns of their own too
  // A JSON array in the place of the CSV: {"text": {column: text}, "label", "probabilities": {label: number},
  // "logits"} for each row; of a regression "value" for the label and the probabilities.
  bool as_json = false;
};
// Every row once, in the file's order. Errors: those of LoadBaseWeights, LoadTokenizer, LoadTexts,
// WriteFileAtomic; InvalidArgument (E0761: config.json names no classes).
absl::Status PredictFile(const PredictRequest& request);

}  // namespace rung
