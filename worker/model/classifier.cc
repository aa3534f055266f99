#include "worker/model/classifier.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "worker/model/counter_random.h"
#include "worker/model/packed_ops.h"
#include "worker/model/parameters.h"

namespace rung {
namespace {

using torch::Tensor;

constexpr char kWordTable[] = "embeddings.word_embeddings.weight";

std::string LayerName(int layer, const std::string& rest) {
  return absl::StrFormat("encoder.layer.%d.%s", layer, rest);
}

std::vector<ParameterInfo> ParameterList(const ModelConfig& c, int labels) {
  std::vector<ParameterInfo> infos;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool decayed = !name.ends_with(".bias") && name.find("LayerNorm") == std::string::npos;
    infos.push_back({name, std::move(shape), 0, 0, decayed});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {c.hidden_size});
    add(name + ".bias", {c.hidden_size});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  add(kWordTable, {c.vocab_size, c.hidden_size});
  add("embeddings.position_embeddings.weight", {c.max_position_embeddings, c.hidden_size});
  add("embeddings.token_type_embeddings.weight", {c.type_vocab_size, c.hidden_size});
  norm("embeddings.LayerNorm");
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    for (const char* part : {"query", "key", "value"}) {  // beside each other: read as one matrix
      add(LayerName(i, absl::StrFormat("attention.self.%s.weight", part)), {c.hidden_size, c.hidden_size});
    }
    for (const char* part : {"query", "key", "value"}) {
      add(LayerName(i, absl::StrFormat("attention.self.%s.bias", part)), {c.hidden_size});
    }
    linear(LayerName(i, "attention.output.dense"), c.hidden_size, c.hidden_size);
    norm(LayerName(i, "attention.output.LayerNorm"));
    linear(LayerName(i, "intermediate.dense"), c.intermediate_size, c.hidden_size);
    linear(LayerName(i, "output.dense"), c.hidden_size, c.intermediate_size);
    norm(LayerName(i, "output.LayerNorm"));
  }
  linear("pooler.dense", c.hidden_size, c.hidden_size);
  linear("classifier", labels, c.hidden_size);
  return infos;
}

struct Layer {
  LinearWeights query_key_value, query, key_value, attention_output, intermediate, output;
  NormWeights attention_norm, output_norm;
};

}  // namespace

struct Classifier::Weights {
  Weights(const ModelConfig& c, int labels, double dropout, torch::Device on)
      : device(on), parameters(ParameterList(c, labels), kWordTable, on) {
    hidden_dropout = static_cast<float>(dropout < 0 ? c.hidden_dropout_prob : dropout);
    attention_dropout = static_cast<float>(dropout < 0 ? c.attention_probs_dropout_prob : dropout);
    classifier_dropout = static_cast<float>(dropout < 0 ? c.classifier_dropout : dropout);
    const int64_t h = c.hidden_size;
    embedding = {
        View(kWordTable, {c.vocab_size, h}),
        View("embeddings.position_embeddings.weight", {c.max_position_embeddings, h}),
        View("embeddings.token_type_embeddings.weight", {c.type_vocab_size, h}),
        parameters.GradientView(kWordTable, {c.vocab_size, h}),
        parameters.GradientView("embeddings.position_embeddings.weight", {c.max_position_embeddings, h}),
        parameters.GradientView("embeddings.token_type_embeddings.weight", {c.type_vocab_size, h})};
    embedding_norm = Norm("embeddings.LayerNorm", h, c.layer_norm_eps);
    for (int i = 0; i < c.num_hidden_layers; ++i) {
      Layer layer;
      layer.query_key_value = Linear(LayerName(i, "attention.self.query"), 3 * h, h);
      layer.query = Linear(LayerName(i, "attention.self.query"), h, h);
      layer.key_value = Linear(LayerName(i, "attention.self.key"), 2 * h, h);
      layer.attention_output = Linear(LayerName(i, "attention.output.dense"), h, h);
      layer.attention_norm = Norm(LayerName(i, "attention.output.LayerNorm"), h, c.layer_norm_eps);
      layer.intermediate = Linear(LayerName(i, "intermediate.dense"), c.intermediate_size, h);
      layer.output = Linear(LayerName(i, "output.dense"), h, c.intermediate_size);
      layer.output_norm = Norm(LayerName(i, "output.LayerNorm"), h, c.layer_norm_eps);
      layers.push_back(std::move(layer));
    }
    pooler = Linear("pooler.dense", h, h);
    head = Linear("classifier", labels, h);
    anchor = torch::zeros({1}, torch::TensorOptions().device(on)).requires_grad_(true);
  }

  Tensor View(const std::string& name, std::vector<int64_t> shape) {
    return parameters.WeightView(name, shape);
  }
  LinearWeights Linear(const std::string& name, int64_t out, int64_t in) {
    return {View(name + ".weight", {out, in}), View(name + ".bias", {out}),
            parameters.GradientView(name + ".weight", {out, in}),
            parameters.GradientView(name + ".bias", {out})};
  }
  NormWeights Norm(const std::string& name, int64_t width, double eps) {
    return {View(name + ".weight", {width}), View(name + ".bias", {width}),
            parameters.GradientView(name + ".weight", {width}),
            parameters.GradientView(name + ".bias", {width}), eps};
  }

  torch::Device device;
  Parameters parameters;
  float hidden_dropout, attention_dropout, classifier_dropout;
  EmbeddingWeights embedding;
  NormWeights embedding_norm;
  std::vector<Layer> layers;
  LinearWeights pooler, head;
  Tensor anchor;
};

// One forward pass: the batch on the device, and which masks to draw.
struct Classifier::Pass {
  const ModelConfig& config;
  const Weights& w;
  PackedInput input;
  const StepKey* key;  // null: evaluation
  bool accumulate = false;
  uint64_t next_site = 0;

  DropoutSite Site(float rate) {
    ++next_site;
    if (key == nullptr || rate <= 0) return {};
    return {KeyOf({static_cast<uint64_t>(RandomPurpose::kDropout), key->seed,
                   static_cast<uint64_t>(key->update), static_cast<uint64_t>(key->micro_batch), next_site}),
            rate};
  }

  Tensor Activation(const Tensor& x) const {
    if (config.hidden_act == "relu") return at::relu(x);
    return at::gelu(x, config.hidden_act == "gelu" ? "none" : "tanh");
  }

  // From the attention's output on: the same for all rows and for the first tokens' rows alone.
  Tensor Rest(const Layer& layer, const Tensor& x, const Tensor& attended) {
    const Tensor projected = PackedLinear(attended, layer.attention_output, accumulate);
    const Tensor y = AddNorm(x, projected, layer.attention_norm, Site(w.hidden_dropout));
    const Tensor wide = Activation(PackedLinear(y, layer.intermediate, accumulate));
    const Tensor narrow = PackedLinear(wide, layer.output, accumulate);
    return AddNorm(y, narrow, layer.output_norm, Site(w.hidden_dropout));
  }

  Tensor Logits() {
    Tensor x = PackedEmbedding(w.anchor, input, w.embedding);
    x = Dropout(AddNorm(Tensor(), x, w.embedding_norm, {}), Site(w.hidden_dropout));
    const int64_t heads = config.num_attention_heads;
    for (size_t i = 0; i + 1 < w.layers.size(); ++i) {
      const Layer& layer = w.layers[i];
      const Tensor qkv = PackedLinear(x, layer.query_key_value, accumulate);
      x = Rest(layer, x, PackedAttention(qkv, input, heads, Site(w.attention_dropout)));
    }
    // The head reads the first token of each sequence only, so the last layer computes only those rows.
    const Layer& last = w.layers.back();
    const Tensor first = x.index_select(0, input.first_rows);
    const Tensor q = PackedLinear(first, last.query, accumulate);
    const Tensor kv = PackedLinear(x, last.key_value, accumulate);
    const Tensor attended = FirstTokenAttention(q, kv, input, heads, Site(w.attention_dropout));
    const Tensor hidden = Rest(last, first, attended);
    const Tensor pooled =
        Dropout(at::tanh(PackedLinear(hidden, w.pooler, accumulate)), Site(w.classifier_dropout));
    return PackedLinear(pooled, w.head, accumulate);
  }
};

static void FillHead(Parameters& parameters, uint64_t seed, double deviation, Tensor& host) {
  CounterRandom random(KeyOf({static_cast<uint64_t>(RandomPurpose::kHead), seed}));
  const ParameterInfo& head = parameters.Find("classifier.weight");
  float* values = host.data_ptr<float>() + head.offset;
  for (int64_t i = 0; i < head.size; ++i) values[i] = static_cast<float>(random.Normal() * deviation);
}

Classifier::Classifier(const BaseWeights& base, int labels, uint64_t seed, double dropout)
    : config_(base.config), labels_(labels) {
  const torch::Device device = torch::cuda::is_available() ? torch::kCUDA : torch::kCPU;
  weights_ = std::make_unique<Weights>(config_, labels, dropout, device);
  Parameters& parameters = weights_->parameters;
  Tensor host = device.is_cpu() ? parameters.weights() : torch::zeros(parameters.weights().sizes());
  for (const auto& [name, values] : base.tensors) {
    const ParameterInfo& info = parameters.Find(name);
    RUNG_CHECK(static_cast<size_t>(info.size) == values.size(), name.c_str());
    std::copy(values.begin(), values.end(), host.data_ptr<float>() + info.offset);
  }
  FillHead(parameters, seed, config_.initializer_range, host);
  if (!device.is_cpu()) parameters.weights().copy_(host);
}

Classifier::~Classifier() = default;

Parameters& Classifier::parameters() {
  return weights_->parameters;
}

std::string Classifier::device_name() const {
  return weights_->device.is_cpu() ? "cpu" : "cuda";
}

static BatchOutcome OutcomeOf(const Tensor& logits, double loss_sum) {
  const Tensor host = logits.detach().to(torch::kCPU).contiguous();
  BatchOutcome outcome;
  outcome.loss_sum = loss_sum;
  outcome.logits.assign(host.data_ptr<float>(), host.data_ptr<float>() + host.numel());
  return outcome;
}

static Tensor LossSum(const Tensor& logits, const PackedBatch& batch) {
  const Tensor labels =
      torch::from_blob(const_cast<int64_t*>(batch.labels.data()), {batch.sequences()}, torch::kInt64)
          .to(logits.device());
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
}

BatchOutcome Classifier::Train(const PackedBatch& batch, const StepKey& key, double scale) {
  Parameters& parameters = weights_->parameters;
  if (key.micro_batch == 0) parameters.BeginUpdate();
  parameters.UseRows(batch.ids);
  Pass pass{config_, *weights_, ToDevice(batch, weights_->device), &key, key.micro_batch > 0};
  const Tensor logits = pass.Logits();
  const Tensor loss = LossSum(logits, batch);
  const double loss_sum = static_cast<double>(loss.item<float>());
  (loss * scale).backward();
  return OutcomeOf(logits, loss_sum);
}

BatchOutcome Classifier::Evaluate(const PackedBatch& batch) {
  const torch::NoGradGuard no_gradient;
  Pass pass{config_, *weights_, ToDevice(batch, weights_->device), nullptr};
  const Tensor logits = pass.Logits();
  return OutcomeOf(logits, static_cast<double>(LossSum(logits, batch).item<float>()));
}

}  // namespace rung
