// The operations of an encoder on packed rows, differentiable by torch's autograd. Gradients of weights go
// straight into the flat array of Parameters, so no weight is a leaf of the graph. CPU tensors take the fused
// kernels, other devices the same formulas in ATen operations. They throw what torch throws.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "worker/model/kernels.h"
#include "worker/model/packed_batch.h"
#include "worker/model/parameters.h"

namespace rung {

// Views into Parameters. The structs live in the model, longer than any graph.
// y += scale B A dropout(x) in the columns from `column` on.
struct LoraWeights {
  WeightSlot a, b;  // (r, in), (out, r)
  int64_t column = 0;
  double scale = 1, dropout = 0;
};
struct LinearWeights {
  WeightSlot weight, bias;  // (out, in), (out)
  std::vector<LoraWeights> lora;
};
struct NormWeights {
  WeightSlot gamma, beta;
  double eps = 1e-12;
};
// position and type may be undefined: the family has none.
struct EmbeddingWeights {
  WeightSlot word, position, type;
};

// Sequences of equal length that stand together.
struct LengthGroup {
  int64_t first_row = 0, first_sequence = 0, sequences = 0, length = 0;
};

// A batch on the device.
struct PackedInput {
  torch::Tensor ids, token_types, positions;  // (sum L) int64
  torch::Tensor first_rows;                   // (n) int64
  std::vector<LengthGroup> groups;
  int64_t sequences = 0;
};
PackedInput ToDevice(const PackedBatch& batch, torch::Device device);

// (rows, in) -> (rows, out), without adapters.
torch::Tensor PackedLinear(const torch::Tensor& x, const LinearWeights& weights);

// The same with a weight alone.
torch::Tensor LowRank(const torch::Tensor& x, const WeightSlot& weight);

// The weight as a leaf: what arrives at it is added to its gradient.
torch::Tensor WeightLeaf(const torch::Tensor& anchor, const WeightSlot& weight);

// `anchor` is any tensor that asks for a gradient (in evaluation it need not): it makes autograd walk down to
// here.
torch::Tensor PackedEmbedding(const torch::Tensor& anchor, const PackedInput& input,
                              const EmbeddingWeights& weights);

// LayerNorm(residual + dropout(y)); residual may be undefined.
torch::Tensor AddNorm(const torch::Tensor& residual, const torch::Tensor& y, const NormWeights& weights,
                      DropoutSite site);

torch::Tensor Dropout(const torch::Tensor& x, DropoutSite site);

// qkv: (sum L, 3 H) -> (sum L, H). Dropout on the probabilities.
torch::Tensor PackedAttention(const torch::Tensor& qkv, const PackedInput& input, int64_t heads,
                              DropoutSite site);

// Only the first token of each sequence asks: q (n, H), kv (sum L, 2 H) -> (n, H).
torch::Tensor FirstTokenAttention(const torch::Tensor& q, const torch::Tensor& kv, const PackedInput& input,
                                  int64_t heads, DropoutSite site);

}  // namespace rung
