// All weights of a model in one float32 array, their gradients in another: optimisers and checkpoints walk
// over flat memory, and neighbouring matrices (query, key, value) can be read as one. One thread.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "worker/text/model_tensors.h"

namespace rung {

// What the operands of a product of matrices are rounded to; sums and results are float32.
enum class Rounding { kNone, kTf32, kBFloat16 };

struct ParameterInfo {
  std::string name;    // plain (model_tensors.h)
  std::string stored;  // as Hugging Face's checkpoints of a whole classifier have it
  std::vector<int64_t> shape;
  TensorKind kind = TensorKind::kMatrix;
  bool joins_next = false;
  int64_t offset = 0;  // in the flat array
  int64_t size = 0;
  bool decayed = true;  // false: biases and LayerNorm
  bool trained = true;  // false: frozen
};

// What an operation needs of one weight, or of several that lie beside each other: its views, and whether
// their gradients still are those of the update before, to be overwritten.
struct WeightSlot {
  torch::Tensor value, gradient;
  bool trained = true;       // false: its gradient need not be computed
  uint8_t* stale = nullptr;  // one flag a parameter; null: gradients are always added
  int parts = 0;
  Rounding rounding = Rounding::kNone;  // of products with it

  // True once an update, for whoever comes first: the gradient's old values are to be forgotten.
  bool TakeStale() const;
};

// Which rows of the word embedding have a gradient in this update, and which ever had one: the others'
// gradients and moments are zero, and nobody need read them.
struct RowUse {
  int64_t offset = 0, rows = 0, width = 0;  // where the table lies in the flat array
  std::vector<uint8_t> in_update;           // (rows)
  std::vector<int64_t> update_rows;         // those with in_update, in the order of their first use
  std::vector<uint8_t> ever;                // (rows)
};

// Of all adapters of a model.
struct LoraSetting {
  double scale = 1, dropout = 0;
};

class Parameters {
 public:
  // A stretch of the flat array outside the word table, all of it trained.
  struct Stretch {
    int64_t offset = 0, size = 0;
  };

  // Offsets are filled in; each parameter that no other joins starts on 64 bytes. All zero at first.
  Parameters(std::vector<ParameterInfo> infos, const std::string& row_sparse_name, torch::Device device);

  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const ParameterInfo& Find(const std::string& name) const;  // must exist
  bool Has(const std::string& name) const;
  // Neighbours are joined.
  const std::vector<Stretch>& trained() const { return trained_; }
  bool word_table_trained() const { return word_table_trained_; }
  torch::Tensor& weights() { return weights_; }
  torch::Tensor& gradients() { return gradients_; }
  RowUse& row_use() { return row_use_; }
  const LoraSetting& lora() const { return lora_; }
  void set_lora(const LoraSetting& lora) { lora_ = lora; }
  // For slots that are made from now on.
  void set_rounding(Rounding rounding) { rounding_ = rounding; }

  // A view of `shape` that begins at the named parameter (and may run over its neighbours).
  torch::Tensor WeightView(const std::string& name, std::vector<int64_t> shape);
  torch::Tensor GradientView(const std::string& name, std::vector<int64_t> shape);
  // The named parameter and the `parts` - 1 after it, as one.
  WeightSlot Slot(const std::string& name, int parts = 1);

  // Before an update's first micro-batch. Gradients of matrices are overwritten by their first use, so only
  // the rest is cleared, and of the word embedding only the rows that were used.
  void BeginUpdate();
  // Before gradients are read: clears those of matrices that no micro-batch came by.
  void SettleGradients();
  // Marks rows of the word embedding as used in this update.
  void UseRows(const std::vector<int64_t>& ids);

 private:
  std::vector<ParameterInfo> infos_;
  std::vector<Stretch> trained_;
  bool word_table_trained_ = true;
  std::vector<uint8_t> stale_;  // one flag for each of infos_
  torch::Tensor weights_, gradients_;
  RowUse row_use_;
  LoraSetting lora_;
  Rounding rounding_ = Rounding::kNone;
};

}  // namespace rung
