// The parts that encoders are built of. Each is bound to its weights by their names. One thread.
#pragma once

#include <torch/torch.h>

#include <string>

#include "worker/model/packed_ops.h"
#include "worker/model/parameters.h"
#include "worker/model/pass.h"
#include "worker/text/model_config.h"

namespace rung {

// Of `name`.weight and `name`.bias, with the adapters that are there; with parts > 1 of it and the linear
// layers that lie beside it.
LinearWeights LinearOf(Parameters& parameters, const std::string& name, int parts = 1);

// (rows, in) -> (rows, out), adapters included.
torch::Tensor Linear(const torch::Tensor& x, const LinearWeights& weights, Pass& pass);

NormWeights NormOf(Parameters& parameters, const std::string& name, double eps);

// Word + position + token type, normalised, dropped out.
class Embeddings {
 public:
  Embeddings(const ModelConfig& config, Parameters& parameters);
  torch::Tensor Forward(Pass& pass) const;  // (sum L, embedding_size)

 private:
  EmbeddingWeights tables_;
  NormWeights norm_;
  double dropout_;
};

// What families call the parts of a layer.
struct LayerNames {
  std::string query, attention_output, attention_norm, intermediate, output, output_norm;
};
LayerNames BertLayerNames(int layer);

struct LayerRates {
  double attention = 0, attention_output = 0, output = 0;  // of dropout
};

// What follows attention in every layer after Vaswani et al. 2017: y = LayerNorm(x + W a), LayerNorm(y +
// FFN(y)).
class LayerRest {
 public:
  LayerRest(const ModelConfig& config, Parameters& parameters, const LayerNames& names,
            const LayerRates& rates);
  // x: the layer's input, (rows, hidden); attended: the same rows.
  torch::Tensor Forward(const torch::Tensor& x, const torch::Tensor& attended, Pass& pass) const;

 private:
  const std::string activation_;
  const LayerRates rates_;
  LinearWeights attention_output_, intermediate_, output_;
  NormWeights attention_norm_, output_norm_;
};

// A layer with plain multi-head attention.
class TransformerLayer {
 public:
  TransformerLayer(const ModelConfig& config, Parameters& parameters, const LayerNames& names,
                   const LayerRates& rates);
  // (sum L, hidden) -> (sum L, hidden), or (n, hidden).
  torch::Tensor Forward(const torch::Tensor& x, RowsRead rows, Pass& pass) const;

 private:
  const int64_t heads_;
  const double attention_dropout_;
  LinearWeights query_key_value_, query_, key_value_;
  LayerRest rest_;
};

// Runs layer(0) ... layer(count - 1), each (x, rows) -> x; only the last is told that it may leave rows out.
// Below pass.trained_from() nothing is recorded for the backward pass. What pass.layers_read() asks for is
// kept.
template <typename Layer>
torch::Tensor RunLayers(int count, torch::Tensor x, RowsRead rows, Pass& pass, const Layer& layer) {
  for (int i = 0; i < count; ++i) {
    if (i == pass.trained_from()) x = x.detach().requires_grad_(pass.training());
    const torch::AutoGradMode recording(pass.training() && i >= pass.trained_from());
    x = layer(i, x, i + 1 == count ? rows : RowsRead::kAll);
    if (i + 1 < count && i + pass.layers_read() >= count) pass.KeepLayer(x);
  }
  return x;
}

}  // namespace rung
