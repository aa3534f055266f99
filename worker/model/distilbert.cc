// DistilBERT (Sanh et al. 2019): BERT without token types, without dropout after the attention's projection,
// and with names of its own.
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/model/encoder.h"
#include "worker/model/layers.h"

namespace rung {
namespace {

using torch::Tensor;

class DistilBert final : public Encoder {
 public:
  DistilBert(const ModelConfig& config, Parameters& parameters) : embeddings_(config, parameters) {
    for (int i = 0; i < config.num_hidden_layers; ++i) {
      const std::string layer = absl::StrCat("transformer.layer.", i, ".");
      layers_.emplace_back(
          config, parameters,
          LayerNames{layer + "attention.q_lin", layer + "attention.out_lin", layer + "sa_layer_norm",
                     layer + "ffn.lin1", layer + "ffn.lin2", layer + "output_layer_norm"},
          LayerRates{config.attention_probs_dropout_prob, 0, config.hidden_dropout_prob});
    }
  }

  Tensor Forward(Pass& pass, RowsRead rows) const override {
    return RunLayers(static_cast<int>(layers_.size()), embeddings_.Forward(pass), rows, pass,
                     [&](int i, const Tensor& x, RowsRead read) {
                       return layers_[static_cast<size_t>(i)].Forward(x, read, pass);
                     });
  }

 private:
  const Embeddings embeddings_;
  std::vector<TransformerLayer> layers_;
};

}  // namespace

std::unique_ptr<Encoder> MakeDistilBert(const ModelConfig& config, Parameters& parameters) {
  return std::make_unique<DistilBert>(config, parameters);
}

}  // namespace rung
