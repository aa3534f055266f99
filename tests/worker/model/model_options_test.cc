// Heads, frozen layers and adapters: which weights are trained, their gradients against finite differences,
// and what the options compute.
#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>

#include "tests/worker/model/random_model.h"
#include "worker/model/parameters.h"
#include "worker/training/optimizer.h"

namespace rung {
namespace {

constexpr ModelFamily kFamilies[] = {ModelFamily::kBert,    ModelFamily::kDistilBert,
                                     ModelFamily::kRoberta, ModelFamily::kElectra,
                                     ModelFamily::kAlbert,  ModelFamily::kDebertaV2};

constexpr char kLayerQuery[] = "head.layer_query.weight";

// Directional derivatives of all trained weights, at this batch.
void CheckGradients(Classifier& model, const PackedBatch& batch) {
  Parameters& parameters = model.parameters();
  torch::manual_seed(11);
  for (const ParameterInfo& info : parameters.infos()) {
    torch::Tensor weight = parameters.weights().narrow(0, info.offset, info.size);
    // An adapter whose B is zero moves nothing below it.
    if (info.name.starts_with("lora.")) weight.uniform_(-0.4, 0.4);
    // Else a gradient that comes by two layers of small weights is too small to be seen.
    if (parameters.Has(kLayerQuery) && info.name.starts_with("head.")) weight.uniform_(-0.4, 0.4);
    // DistilBERT's head has a ReLU: no unit may stand so near to its kink that a step crosses it.
    if (info.name == "pre_classifier.bias") weight.copy_(4 - 8 * (torch::arange(info.size) % 2));
  }
  const StepKey key = {42, 3, 0};
  model.Train(batch, key, 1);
  parameters.SettleGradients();
  const torch::Tensor gradients = parameters.gradients().clone();
  int checked = 0;
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.trained) continue;
    const torch::Tensor gradient = gradients.narrow(0, info.offset, info.size);
    const double norm = static_cast<double>(gradient.norm().item<float>());
    if (info.name == kLayerQuery) CHECK(norm > 1e-2);
    if (norm < 1e-2) continue;  // keys' biases: softmax does not see them
    torch::Tensor weight = parameters.weights().narrow(0, info.offset, info.size);
    const torch::Tensor before = weight.clone();
    const double step = 5e-4;
    weight.copy_(before + gradient * (step / norm));
    const double above = model.Train(batch, key, 1).loss_sum;
    weight.copy_(before - gradient * (step / norm));
    const double below = model.Train(batch, key, 1).loss_sum;
    weight.copy_(before);
    INFO(info.name);
    CHECK((above - below) / (2 * step) == Approx(norm).epsilon(0.03).margin(3e-3));
    ++checked;
  }
  CHECK(checked > 0);
}

ModelOptions Fc(HeadPool pool, int layers) {
  ModelOptions options;
  options.dropout = 0.1;
  options.head.type = HeadType::kFullyConnected;
  options.head.pool = pool;
  options.head.layers = layers;
  options.head.size = 12;
  options.head.activation = "gelu";
  return options;
}

ModelOptions Attention() {
  ModelOptions options;
  options.dropout = 0.1;
  options.head.type = HeadType::kAttention;
  options.head.dim = 16;
  options.head.heads = 2;
  return options;
}

ModelOptions WithLayers(ModelOptions options, int last_layers) {
  options.head.last_layers = last_layers;
  return options;
}

ModelOptions Lora(std::vector<std::string> targets) {
  ModelOptions options;
  options.dropout = 0.1;
  options.peft = PeftMethod::kLora;
  options.lora = {3, 4, 0.1, std::move(targets), true};
  return options;
}

ModelConfig Published(ModelFamily family) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = 30522;
  config.embedding_size = config.hidden_size = 768;
  config.num_hidden_layers = family == ModelFamily::kDistilBert ? 6 : 12;
  config.num_attention_heads = 12;
  config.intermediate_size = 3072;
  config.max_position_embeddings = 512;
  config.type_vocab_size = family == ModelFamily::kDistilBert ? 0 : 2;
  return config;
}

}  // namespace

TEST_CASE("the numbers of weights that LoRA trains are those of the PEFT library") {
  ModelOptions options;
  options.peft = PeftMethod::kLora;
  options.lora.r = 8;
  options.lora.targets = {"query"};
  const auto trained = [&](ModelFamily family) {
    return TrainedWeights(ClassifierTensors(Published(family), options, 4));
  };
  CHECK(trained(ModelFamily::kBert) == 150532);
  CHECK(trained(ModelFamily::kDistilBert) == 667396);
  CHECK(trained(ModelFamily::kRoberta) == 741124);
  options.lora.alpha = 32;
  CHECK(options.lora.Scale() == 4);
  options.lora.rank_stabilised = true;
  CHECK(options.lora.Scale() == Approx(11.3137).epsilon(1e-5));
}

TEST_CASE("gradients of heads and adapters are those of finite differences, in every family") {
  const PackedBatch batch = BatchOf(Examples());
  for (const ModelFamily family : kFamilies) {
    const BaseWeights base = RandomBase(7, SmallConfig(family));
    INFO(FamilyPrefix(family));
    std::vector<ModelOptions> all = {Lora(LinearParts()), WithLayers(Attention(), 2)};
    if (family == ModelFamily::kBert) {
      all.push_back(WithLayers(Fc(HeadPool::kFirstToken, 2), 3));
      all.push_back(WithLayers(Fc(HeadPool::kMean, 2), 2));
      all.back().head.sizes = {10, 6};
      all.back().frozen_embeddings = true;
      all.back().frozen_layers = 2;  // one of the layers that are read has no gradient
      for (const HeadPool pool : {HeadPool::kFirstToken, HeadPool::kMean, HeadPool::kMax})
        all.push_back(Fc(pool, 3));
      all.push_back(Fc(HeadPool::kFirstToken, 1));
      all.push_back(Attention());
      all.push_back(Lora({"query", "value"}));
    }
    for (const ModelOptions& options : all) {
      Classifier model(base, 3, 5, options);
      CheckGradients(model, batch);
    }
  }
}

TEST_CASE("frozen weights keep their bits, the others get the gradients they would have had") {
  const PackedBatch batch = BatchOf(Examples());
  for (const ModelFamily family : kFamilies) {
    const BaseWeights base = RandomBase(7, SmallConfig(family));
    for (const bool embeddings : {false, true}) {
      for (const int layers : {0, 2, 3}) {
        INFO(FamilyPrefix(family) << " " << layers << " " << embeddings);
        ModelOptions options;
        options.frozen_layers = layers;
        options.frozen_embeddings = embeddings;
        Classifier model(base, 3, 5, options), whole(base, 3, 5, -1.0);
        const torch::Tensor before = model.parameters().weights().clone();
        model.Train(batch, {1, 0, 0}, 1);
        whole.Train(batch, {1, 0, 0}, 1);
        model.parameters().SettleGradients();
        whole.parameters().SettleGradients();
        const torch::Tensor ours = model.parameters().gradients().clone();
        WeightUpdater({.weight_decay = 0.1}, model.parameters()).Update(1e-2);
        int frozen = 0;
        for (const ParameterInfo& info : model.parameters().infos()) {
          const auto part = [&](const torch::Tensor& flat) { return flat.narrow(0, info.offset, info.size); };
          INFO(info.name);
          if (info.trained) {
            CHECK(torch::allclose(part(ours), part(whole.parameters().gradients()), 1e-5, 1e-6));
          } else {
            ++frozen;
            CHECK(torch::equal(part(before), part(model.parameters().weights())));
          }
        }
        CHECK((frozen > 0) == (embeddings || layers > (family == ModelFamily::kAlbert ? 2 : 0)));
      }
    }
  }
}

TEST_CASE("adapters begin as nothing, and merged weights compute the same") {
  const PackedBatch batch = BatchOf(Examples());
  for (const ModelFamily family : kFamilies) {
    INFO(FamilyPrefix(family));
    const BaseWeights base = RandomBase(9, SmallConfig(family));
    ModelOptions options = Lora({"query", "key", "intermediate"});
    Classifier model(base, 3, 5, options), plain(base, 3, 5, 0.1);
    CHECK(model.Evaluate(batch).logits == plain.Evaluate(batch).logits);
    for (const ParameterInfo& info : model.parameters().infos()) {
      if (info.name.starts_with("lora."))
        model.parameters().weights().narrow(0, info.offset, info.size).uniform_(-0.2, 0.2);
    }
    const std::vector<float> adapted = model.Evaluate(batch).logits;
    model.MergeAdapters();
    const std::vector<float> merged = model.Evaluate(batch).logits;
    double moved = 0;
    for (size_t i = 0; i < adapted.size(); ++i) {
      CHECK(merged[i] == Approx(adapted[i]).margin(2e-5));
      moved = std::max(moved, std::abs(static_cast<double>(adapted[i] - plain.Evaluate(batch).logits[i])));
    }
    CHECK(moved > 1e-3);
  }
}

// Of each token the sum of the layers' states, by the softmax of their products with the query: written out.
static torch::Tensor MixedByHand(const std::vector<torch::Tensor>& layers, const torch::Tensor& query) {
  torch::Tensor mixed = torch::zeros_like(layers[0]);
  for (int64_t token = 0; token < mixed.size(0); ++token) {
    std::vector<double> weights;
    double total = 0;
    for (const torch::Tensor& states : layers) {
      double product = 0;
      for (int64_t i = 0; i < kWidth; ++i)
        product += states[token][i].item<double>() * query[0][i].item<double>();
      weights.push_back(std::exp(product / std::sqrt(static_cast<double>(kWidth))));
      total += weights.back();
    }
    for (size_t layer = 0; layer < layers.size(); ++layer)
      mixed[token].add_(layers[layer][token], weights[layer] / total);
  }
  return mixed;
}

TEST_CASE("a head of the last layers reads their mix, in every family") {
  const std::vector<EncodedExample> examples = Examples();
  const PackedBatch all = BatchOf(examples);
  const torch::NoGradGuard no_gradient;
  for (const ModelFamily family : kFamilies) {
    // What layer k puts out is what a model of k layers does: its weights are drawn before those above it.
    std::vector<std::unique_ptr<Classifier>> cut;
    for (int layers = 1; layers <= 3; ++layers) {
      ModelConfig config = SmallConfig(family);
      config.num_hidden_layers = layers;
      cut.push_back(std::make_unique<Classifier>(RandomBase(9, config), 3, uint64_t{5}, 0.0));
    }
    for (const HeadPool pool : {HeadPool::kFirstToken, HeadPool::kMean}) {
      for (const int last_layers : {2, 3}) {
        INFO(FamilyPrefix(family) << " pool " << static_cast<int>(pool) << ", last layers " << last_layers);
        ModelOptions options = WithLayers(Fc(pool, 2), last_layers);
        options.head.sizes = {10, 6};
        Classifier model(RandomBase(9, SmallConfig(family)), 3, 5, options);
        Parameters& parameters = model.parameters();
        CHECK(parameters.Find("head.fc.1.weight").shape == std::vector<int64_t>{6, 10});
        torch::manual_seed(7);
        for (const ParameterInfo& info : parameters.infos()) {
          if (info.name.starts_with("head."))
            parameters.weights().narrow(0, info.offset, info.size).uniform_(-0.5, 0.5);
        }
        const auto linear = [&](const torch::Tensor& x, const std::string& name) {
          return torch::linear(x, parameters.Slot(name + ".weight").value,
                               parameters.Slot(name + ".bias").value);
        };
        const std::vector<float> logits = model.Evaluate(all).logits;
        for (size_t i = 0; i < all.rows.size(); ++i) {
          const PackedBatch one = PackBatch(examples, {all.rows[i]});
          std::vector<torch::Tensor> layers;
          for (size_t layer = static_cast<size_t>(3 - last_layers); layer < 3; ++layer) {
            std::vector<float> states = cut[layer]->HiddenStates(one);
            layers.push_back(torch::from_blob(states.data(), {one.tokens(), kWidth}).clone());
          }
          const torch::Tensor mixed = MixedByHand(layers, parameters.Slot(kLayerQuery).value);
          torch::Tensor x = pool == HeadPool::kMean ? mixed.mean(0, true) : mixed.narrow(0, 0, 1);
          for (const std::string name : {"head.fc.0", "head.fc.1"}) x = torch::gelu(linear(x, name));
          x = linear(x, "head.linear");
          for (int64_t j = 0; j < 3; ++j)
            CHECK(logits[i * 3 + static_cast<size_t>(j)] == Approx(x[0][j].item<float>()).margin(2e-5));
        }
      }
    }
  }
}

TEST_CASE("heads compute what PyTorch's modules compute") {
  const BaseWeights base = RandomBase(9);
  const std::vector<EncodedExample> examples = Examples();
  const torch::NoGradGuard no_gradient;
  const auto check = [&](const ModelOptions& options, const auto& reference) {
    Classifier model(base, 3, 5, options);
    for (const ParameterInfo& info : model.parameters().infos()) {
      if (info.name.starts_with("head."))
        model.parameters().weights().narrow(0, info.offset, info.size).uniform_(-0.5, 0.5);
    }
    const PackedBatch all = BatchOf(examples);
    const std::vector<float> logits = model.Evaluate(all).logits;
    for (size_t i = 0; i < all.rows.size(); ++i) {
      std::vector<float> states = model.HiddenStates(PackBatch(examples, {all.rows[i]}));
      const torch::Tensor tokens =
          torch::from_blob(states.data(), {static_cast<int64_t>(states.size()) / kWidth, kWidth});
      const auto weight = [&](const std::string& name, int parts = 1) {
        return model.parameters().Slot(name, parts).value;
      };
      const torch::Tensor expected = reference(tokens, weight).reshape({3});
      for (int64_t j = 0; j < 3; ++j)
        CHECK(logits[i * 3 + static_cast<size_t>(j)] == Approx(expected[j].item<float>()).margin(1e-5));
    }
  };
  for (const HeadPool pool : {HeadPool::kFirstToken, HeadPool::kMean, HeadPool::kMax}) {
    check(Fc(pool, 3), [&](const torch::Tensor& tokens, const auto& weight) {
      torch::Tensor x = pool == HeadPool::kFirstToken ? tokens.narrow(0, 0, 1)
                        : pool == HeadPool::kMean     ? tokens.mean(0, true)
                                                      : std::get<0>(tokens.max(0, true));
      for (const std::string name : {"head.fc.0", "head.fc.1"})
        x = torch::gelu(torch::linear(x, weight(name + ".weight"), weight(name + ".bias")));
      return torch::linear(x, weight("head.linear.weight"), weight("head.linear.bias"));
    });
  }
  check(Attention(), [&](const torch::Tensor& tokens, const auto& weight) {
    const torch::Tensor x =
        torch::linear(tokens, weight("head.projection.weight"), weight("head.projection.bias"));
    torch::nn::MultiheadAttention attention(torch::nn::MultiheadAttentionOptions(16, 2));
    attention->in_proj_weight.copy_(weight("head.query.weight", 3));
    attention->in_proj_bias.copy_(weight("head.query.bias", 3));
    attention->out_proj->weight.copy_(weight("head.output.weight"));
    attention->out_proj->bias.copy_(weight("head.output.bias"));
    attention->eval();
    const torch::Tensor rows = x.unsqueeze(1);
    const torch::Tensor attended = std::get<0>(attention->forward(rows, rows, rows)).squeeze(1);
    return torch::linear(attended.mean(0, true), weight("head.linear.weight"), weight("head.linear.bias"));
  });
}

}  // namespace rung
