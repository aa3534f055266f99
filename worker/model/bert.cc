// BERT (Devlin et al. 2019), and two that differ in their embeddings alone: RoBERTa (Liu et al. 2019; XLM-R
// and CamemBERT are built the same), whose positions begin after the padding token's and skip padding tokens,
// and ELECTRA (Clark et al. 2020), whose embeddings may be narrower than its layers.
#include <memory>
#include <optional>
#include <vector>

#include "worker/model/encoder.h"
#include "worker/model/layers.h"

namespace rung {
namespace {

using torch::Tensor;

class Bert final : public Encoder {
 public:
  Bert(const ModelConfig& config, Parameters& parameters) : config_(config), embeddings_(config, parameters) {
    if (config.family == ModelFamily::kElectra && config.embedding_size != config.hidden_size)
      projection_ = LinearOf(parameters, "embeddings_project");
    const LayerRates rates = {config.attention_probs_dropout_prob, config.hidden_dropout_prob,
                              config.hidden_dropout_prob};
    for (int i = 0; i < config.num_hidden_layers; ++i)
      layers_.emplace_back(config, parameters, BertLayerNames(i), rates);
  }

  Tensor Forward(Pass& pass, RowsRead rows) const override {
    Tensor x = embeddings_.Forward(pass);
    if (projection_) {
      const torch::AutoGradMode recording(pass.training() && pass.trained_from() < 0);
      x = PackedLinear(x, *projection_);
    }
    return RunLayers(config_.num_hidden_layers, x, rows, pass,
                     [&](int i, const Tensor& input, RowsRead read) {
                       return layers_[static_cast<size_t>(i)].Forward(input, read, pass);
                     });
  }

  std::vector<int64_t> Positions(const PackedBatch& batch) const override {
    if (config_.family != ModelFamily::kRoberta) return batch.positions;
    std::vector<int64_t> positions(batch.ids.size());
    for (size_t sequence = 0; sequence + 1 < batch.starts.size(); ++sequence) {
      int64_t read = 0;
      for (auto i = static_cast<size_t>(batch.starts[sequence]);
           i < static_cast<size_t>(batch.starts[sequence + 1]); ++i) {
        const bool padding = batch.ids[i] == config_.pad_token_id;
        positions[i] = config_.pad_token_id + (padding ? 0 : ++read);
      }
    }
    return positions;
  }

 private:
  const ModelConfig config_;
  const Embeddings embeddings_;
  std::optional<LinearWeights> projection_;
  std::vector<TransformerLayer> layers_;
};

}  // namespace

std::unique_ptr<Encoder> MakeBert(const ModelConfig& config, Parameters& parameters) {
  return std::make_unique<Bert>(config, parameters);
}

}  // namespace rung
