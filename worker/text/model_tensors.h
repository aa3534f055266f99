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

// Which layer a tensor belongs to, where it is none of 0 ... n - 1.
inline constexpr int kEmbeddingLayer = -1;
inline constexpr int kAboveLayers = 1 << 20;  // poolers and heads

struct ModelTensor {
  std::string name;  // without the family's prefix
  std::vector<int64_t> shape;
  TensorKind kind = TensorKind::kMatrix;
  bool joins_next = false;  // lies directly before its neighbour: both are read as one (query, key, value)
  int layer = kEmbeddingLayer;  // where layers share weights: the last one that uses it
};

// Of a pre-trained encoder; its word table comes first.
std::vector<ModelTensor> EncoderTensors(const ModelConfig& config);

// Of the family's sequence-classification head as far as it is new, not part of a pre-trained checkpoint.
std::vector<ModelTensor> HeadTensors(const ModelConfig& config, int labels);

// The linear layers that adapters can be put on, by the names that hold for all families: query, key, value,
// attention_output, intermediate, output; and what the family calls one of them, without ".weight". ALBERT's
// layers count those inside groups.
std::vector<std::string> LinearParts();
std::string LinearPartName(const ModelConfig& config, int layer, const std::string& part);

// Which group's weights an ALBERT layer uses.
int AlbertGroup(const ModelConfig& config, int layer);

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
