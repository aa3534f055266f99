// One forward pass over a batch: the batch on the device, the dropout sites in the order of their use, and
// from where on the model is trained. One thread.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "worker/model/classifier.h"
#include "worker/model/counter_random.h"
#include "worker/model/packed_ops.h"

namespace rung {

// Which rows of the last layer the head reads. The others need not be computed.
enum class RowsRead { kAll, kFirstTokens };

class Pass {
 public:
  // key is null in evaluation; it and `anchor` must live longer. trained_from: the lowest layer that is
  // trained, -1 for the embeddings; below it no gradient is computed.
  Pass(PackedInput input, const StepKey* key, torch::Tensor anchor, int trained_from)
      : input_(std::move(input)), key_(key), anchor_(std::move(anchor)), trained_from_(trained_from) {}
  Pass(const Pass&) = delete;  // the graph points into the input
  Pass& operator=(const Pass&) = delete;

  const PackedInput& input() const { return input_; }
  const torch::Tensor& anchor() const { return anchor_; }
  int trained_from() const { return trained_from_; }
  bool training() const { return key_ != nullptr; }

  // How many of the last layers' outputs the head reads; said before the encoder runs. It returns the last
  // one's and keeps those before it here, the lowest first: (sum L, hidden) each.
  void set_layers_read(int layers) { layers_read_ = layers; }
  int layers_read() const { return layers_read_; }
  void KeepLayer(const torch::Tensor& x) { kept_layers_.push_back(x); }
  const std::vector<torch::Tensor>& kept_layers() const { return kept_layers_; }

  // Each call is another site: a model asks in the same order in every pass.
  DropoutSite NextSite(double rate) {
    ++sites_;
    if (key_ == nullptr || rate <= 0) return {};
    return {KeyOf({static_cast<uint64_t>(RandomPurpose::kDropout), key_->seed,
                   static_cast<uint64_t>(key_->update), static_cast<uint64_t>(key_->micro_batch), sites_}),
            static_cast<float>(rate)};
  }

 private:
  const PackedInput input_;
  const StepKey* key_;
  const torch::Tensor anchor_;
  const int trained_from_;
  int layers_read_ = 1;
  std::vector<torch::Tensor> kept_layers_;
  uint64_t sites_ = 0;
};

// gelu (erf), gelu_new (tanh), relu, silu or tanh.
torch::Tensor Activate(const torch::Tensor& x, const std::string& activation);

}  // namespace rung
