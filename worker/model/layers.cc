#include "worker/model/layers.h"

#include "absl/strings/str_cat.h"
#include "worker/text/model_options.h"

namespace rung {

using torch::Tensor;

LinearWeights LinearOf(Parameters& parameters, const std::string& name, int parts) {
  LinearWeights weights = {
      parameters.Slot(name + ".weight", parts), parameters.Slot(name + ".bias", parts), {}};
  const ParameterInfo* part = &parameters.Find(name + ".weight");
  for (int64_t column = 0, i = 0; i < parts; column += part[i].shape[0], ++i) {
    const std::string layer = part[i].name.substr(0, part[i].name.rfind('.'));
    if (!parameters.Has(LoraName(layer, 'A'))) continue;
    weights.lora.push_back({parameters.Slot(LoraName(layer, 'A')), parameters.Slot(LoraName(layer, 'B')),
                            column, parameters.lora().scale, parameters.lora().dropout});
  }
  return weights;
}

Tensor Linear(const Tensor& x, const LinearWeights& weights, Pass& pass) {
  Tensor y = PackedLinear(x, weights);
  for (const LoraWeights& lora : weights.lora) {
    const Tensor narrow = LowRank(Dropout(x, pass.NextSite(lora.dropout)), lora.a);
    const Tensor change = LowRank(narrow, lora.b) * lora.scale;
    if (change.size(1) == y.size(1)) {
      y = y + change;
    } else {
      y = y + at::constant_pad_nd(change, {lora.column, y.size(1) - lora.column - change.size(1)});
    }
  }
  return y;
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
  const Tensor projected = Linear(attended, attention_output_, pass);
  const Tensor y = AddNorm(x, projected, attention_norm_, pass.NextSite(rates_.attention_output));
  const Tensor wide = Activate(Linear(y, intermediate_, pass), activation_);
  const Tensor narrow = Linear(wide, output_, pass);
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
    const Tensor qkv = Linear(x, query_key_value_, pass);
    const DropoutSite site = pass.NextSite(attention_dropout_);
    return rest_.Forward(x, PackedAttention(qkv, pass.input(), heads_, site), pass);
  }
  const Tensor first = x.index_select(0, pass.input().first_rows);
  const Tensor q = Linear(first, query_, pass);
  const Tensor kv = Linear(x, key_value_, pass);
  const DropoutSite site = pass.NextSite(attention_dropout_);
  return rest_.Forward(first, FirstTokenAttention(q, kv, pass.input(), heads_, site), pass);
}

}  // namespace rung
