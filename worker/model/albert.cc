// ALBERT (Lan et al. 2020): factorised embeddings, and layers that share their weights in groups.
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/model/encoder.h"
#include "worker/model/layers.h"

namespace rung {
namespace {

using torch::Tensor;

class Albert final : public Encoder {
 public:
  Albert(const ModelConfig& config, Parameters& parameters)
      : config_(config),
        embeddings_(config, parameters),
        projection_(LinearOf(parameters, "encoder.embedding_hidden_mapping_in")) {
    for (int group = 0; group < config.num_hidden_groups; ++group) {
      for (int i = 0; i < config.inner_group_num; ++i) {
        const std::string layer =
            absl::StrCat("encoder.albert_layer_groups.", group, ".albert_layers.", i, ".");
        layers_.emplace_back(
            config, parameters,
            LayerNames{layer + "attention.query", layer + "attention.dense", layer + "attention.LayerNorm",
                       layer + "ffn", layer + "ffn_output", layer + "full_layer_layer_norm"},
            LayerRates{config.attention_probs_dropout_prob, config.hidden_dropout_prob, 0});
      }
    }
  }

  Tensor Forward(Pass& pass, RowsRead rows) const override {
    Tensor x = embeddings_.Forward(pass);
    {
      const torch::AutoGradMode recording(pass.training() && pass.trained_from() < 0);
      x = PackedLinear(x, projection_);
    }
    const int inner = config_.inner_group_num;
    return RunLayers(
        config_.num_hidden_layers * inner, x, rows, pass, [&](int i, const Tensor& input, RowsRead read) {
          const int group = AlbertGroup(config_, i / inner);
          return layers_[static_cast<size_t>(group * inner + i % inner)].Forward(input, read, pass);
        });
  }

 private:
  const ModelConfig config_;
  const Embeddings embeddings_;
  const LinearWeights projection_;
  std::vector<TransformerLayer> layers_;
};

}  // namespace

std::unique_ptr<Encoder> MakeAlbert(const ModelConfig& config, Parameters& parameters) {
  return std::make_unique<Albert>(config, parameters);
}

}  // namespace rung
