// The tensors of every supported encoder: names as Hugging Face's checkpoints have them, shapes, and the
// order in which they lie in memory. The one place that knows. Values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/text/model_config.h"

namespace rung {

enum class TensorKind {
  kTable,   // embeddings: gradients are added row by row
  kMatrix,  // of a linear layer
  kVector   // biases and what LayerNorm scales with: never decayed
};

struct ModelTensor {
  std::string name;  // without the family's prefix
  std::vector<int64_t> shape;
  TensorKind kind = TensorKind::kMatrix;
  bool joins_next = false;  // lies directly before its neighbour: both are read as one (query, key, value)
};

// Of a pre-trained encoder; its word table comes first.
std::vector<ModelTensor> EncoderTensors(const ModelConfig& config);

// Of the family's sequence-classification head as far as it is new, not part of a pre-trained checkpoint.
std::vector<ModelTensor> HeadTensors(const ModelConfig& config, int labels);

// The word table's name, and "bert.", "roberta.", ...: what stands before an encoder's names in a checkpoint
// with a head.
std::string WordTableName();
std::string FamilyPrefix(ModelFamily family);

// The name without the family's prefix; gamma and beta (old TensorFlow conversions) as weight and bias.
std::string PlainName(ModelFamily family, const std::string& name);

// What a published encoder may carry beside its weights: position numbers and heads of its former tasks.
// `name` is plain.
bool IsForeignTensor(ModelFamily family, const std::string& name);

}  // namespace rung
