#include "worker/model/layers.h"

#include "absl/strings/str_cat.h"

namespace rung {

using torch::Tensor;

LinearWeights LinearOf(Parameters& parameters, const std::string& name, int parts) {
  return {parameters.Slot(name + ".weight", parts), parameters.Slot(name + ".bias", parts)};
}

NormWeights NormOf(Parameters& parameters, const std::string& name, double eps) {
  return {parameters.Slot(name + ".weight"), parameters.Slot(name + ".bias"), eps};
}

Tensor Activate(const Tensor& x, const std::string& activation) {
  if (activation == "relu") return at::relu(x);
  if (activation == "silu") return at::silu(x);
  if (activation == "tanh") return at::tanh(x);
  return at::gelu(x, activation == "gelu" ? "none" : "tanh");
}

Embeddings::Embeddings(const ModelConfig& config, Parameters& parameters)
    : norm_(NormOf(parameters, "embeddings.LayerNorm", config.layer_norm_eps)),
      dropout_(config.hidden_dropout_prob) {
  tables_.word = parameters.Slot(WordTableName());
  if (config.position_table) tables_.position = parameters.Slot("embeddings.position_embeddings.weight");
  if (config.type_vocab_size > 0) tables_.type = parameters.Slot("embeddings.token_type_embeddings.weight");
}

Tensor Embeddings::Forward(Pass& pass) const {
  const torch::AutoGradMode recording(pass.training() && pass.trained_from() < 0);
  const Tensor sum = PackedEmbedding(pass.anchor(), pass.input(), tables_);
  return Dropout(AddNorm(Tensor(), sum, norm_, {}), pass.NextSite(dropout_));
}

LayerNames BertLayerNames(int layer) {
  const std::string prefix = absl::StrCat("encoder.layer.", layer, ".");
  return {prefix + "attention.self.query",
          prefix + "attention.output.dense",
          prefix + "attention.output.LayerNorm",
          prefix + "intermediate.dense",
          prefix + "output.dense",
          prefix + "output.LayerNorm"};
}

LayerRest::LayerRest(const ModelConfig& config, Parameters& parameters, const LayerNames& names,
                     const LayerRates& rates)
    : activation_(config.hidden_act),
      rates_(rates),
      attention_output_(LinearOf(parameters, names.attention_output)),
      intermediate_(LinearOf(parameters, names.intermediate)),
      output_(LinearOf(parameters, names.output)),
      attention_norm_(NormOf(parameters, names.attention_norm, config.layer_norm_eps)),
      output_norm_(NormOf(parameters, names.output_norm, config.layer_norm_eps)) {}

Tensor LayerRest::Forward(const Tensor& x, const Tensor& attended, Pass& pass) const {
  const Tensor projected = PackedLinear(attended, attention_output_);
  const Tensor y = AddNorm(x, projected, attention_norm_, pass.NextSite(rates_.attention_output));
  const Tensor wide = Activate(PackedLinear(y, intermediate_), activation_);
  const Tensor narrow = PackedLinear(wide, output_);
  return AddNorm(y, narrow, output_norm_, pass.NextSite(rates_.output));
}

TransformerLayer::TransformerLayer(const ModelConfig& config, Parameters& parameters, const LayerNames& names,
                                   const LayerRates& rates)
    : heads_(config.num_attention_heads),
      attention_dropout_(rates.attention),
      query_key_value_(LinearOf(parameters, names.query, 3)),
      query_(LinearOf(parameters, names.query)),
      rest_(config, parameters, names, rates) {
  const std::string key = (&parameters.Find(names.query + ".weight") + 1)->name;
  key_value_ = LinearOf(parameters, key.substr(0, key.rfind('.')), 2);
}

Tensor TransformerLayer::Forward(const Tensor& x, RowsRead rows, Pass& pass) const {
  if (rows == RowsRead::kAll) {
    const Tensor qkv = PackedLinear(x, query_key_value_);
    const DropoutSite site = pass.NextSite(attention_dropout_);
    return rest_.Forward(x, PackedAttention(qkv, pass.input(), heads_, site), pass);
  }
  const Tensor first = x.index_select(0, pass.input().first_rows);
  const Tensor q = PackedLinear(first, query_);
  const Tensor kv = PackedLinear(x, key_value_);
  const DropoutSite site = pass.NextSite(attention_dropout_);
  return rest_.Forward(first, FirstTokenAttention(q, kv, pass.input(), heads_, site), pass);
}

}  // namespace rung
