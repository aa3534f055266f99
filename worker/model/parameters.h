// All weights of a model in one float32 array, their gradients in another: optimisers and checkpoints walk
// over flat memory, and neighbouring matrices (query, key, value) can be read as one. One thread.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rung {

struct ParameterInfo {
  std::string name;  // as in Hugging Face, without "bert."
  std::vector<int64_t> shape;
  int64_t offset = 0;  // in the flat array
  int64_t size = 0;
  bool decayed = true;  // false: biases and LayerNorm
};

// Which rows of the word embedding have a gradient in this update, and which ever had one: the others'
// gradients and moments are zero, and nobody need read them.
struct RowUse {
  int64_t offset = 0, rows = 0, width = 0;  // where the table lies in the flat array
  std::vector<uint8_t> in_update;           // (rows)
  std::vector<int64_t> update_rows;         // those with in_update, in the order of their first use
  std::vector<uint8_t> ever;                // (rows)
};

class Parameters {
 public:
  // Offsets are filled in; every entry for which `aligned` says so starts on 64 bytes. All zero at first.
  Parameters(std::vector<ParameterInfo> infos, const std::string& row_sparse_name, torch::Device device);

  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const ParameterInfo& Find(const std::string& name) const;  // must exist
  torch::Tensor& weights() { return weights_; }
  torch::Tensor& gradients() { return gradients_; }
  RowUse& row_use() { return row_use_; }

  // A view of `shape` that begins at the named parameter (and may run over its neighbours).
  torch::Tensor WeightView(const std::string& name, std::vector<int64_t> shape);
  torch::Tensor GradientView(const std::string& name, std::vector<int64_t> shape);

  // Before an update's first micro-batch. Gradients of matrices are overwritten by the first micro-batch, so
  // only the rest is cleared, and of the word embedding only the rows that were used.
  void BeginUpdate();
  // Marks rows of the word embedding as used in this update.
  void UseRows(const std::vector<int64_t>& ids);

 private:
  std::vector<ParameterInfo> infos_;
  torch::Tensor weights_, gradients_;
  RowUse row_use_;
};

}  // namespace rung
