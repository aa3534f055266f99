// The packed model: gradients against finite differences with dropout on, packing against single sequences,
// masks that are functions of their key.
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <cmath>
#include <numeric>

#include "tests/worker/model/random_model.h"
#include "worker/model/classifier.h"
#include "worker/model/counter_random.h"
#include "worker/model/kernels.h"
#include "worker/model/parameters.h"
#include "worker/model/pass.h"

namespace rung {

TEST_CASE("gradients are those of finite differences, with dropout on") {
  for (const char* activation : {"gelu", "gelu_new", "relu"}) {
    const BaseWeights base = RandomBase(7, activation);
    Classifier model(base, 3, 5, 0.2);
    Parameters& parameters = model.parameters();
    const PackedBatch batch = BatchOf(Examples());
    const StepKey key = {42, 3, 0};
    model.Train(batch, key, 1);
    const torch::Tensor gradients = parameters.gradients().clone();
    for (const ParameterInfo& info : parameters.infos()) {
      const torch::Tensor gradient = gradients.narrow(0, info.offset, info.size);
      const double norm = static_cast<double>(gradient.norm().item<float>());
      if (norm < 1e-3) continue;  // keys' biases: softmax does not see them
      torch::Tensor weight = parameters.weights().narrow(0, info.offset, info.size);
      const torch::Tensor before = weight.clone();
      const double step = 2e-3;
      weight.copy_(before + gradient * (step / norm));
      const double above = model.Train(batch, key, 1).loss_sum;
      weight.copy_(before - gradient * (step / norm));
      const double below = model.Train(batch, key, 1).loss_sum;
      weight.copy_(before);
      INFO(activation << " " << info.name);
      CHECK((above - below) / (2 * step) == Approx(norm).epsilon(0.03).margin(3e-3));
    }
  }
}

// As Hugging Face's get_parameter_names excludes them: biases, and what a LayerNorm has.
TEST_CASE("weights decay, biases and LayerNorms do not") {
  for (const ModelFamily family : {ModelFamily::kBert, ModelFamily::kDistilBert, ModelFamily::kRoberta,
                                   ModelFamily::kElectra, ModelFamily::kAlbert, ModelFamily::kDebertaV2}) {
    Classifier model(RandomBase(7, SmallConfig(family)), 3, 5, 0.2);
    int decayed = 0, exempt = 0;
    for (const ParameterInfo& info : model.parameters().infos()) {
      std::string stored = info.stored;
      std::transform(stored.begin(), stored.end(), stored.begin(),
                     [](unsigned char c) { return std::tolower(c); });
      const bool norm =
          stored.find("layernorm") != std::string::npos || stored.find("layer_norm") != std::string::npos;
      INFO(info.stored);
      CHECK(info.decayed == !(norm || stored.ends_with("bias")));
      (info.decayed ? decayed : exempt) += 1;
    }
    CHECK(decayed > 3);
    CHECK(exempt > 3);
  }
}

TEST_CASE("every layer draws masks of its own, the same ones again in the same pass of training") {
  const auto masks = [](const StepKey* key) {
    Pass pass({}, key, {}, -1);
    std::vector<torch::Tensor> drawn;
    for (int site = 0; site < 4; ++site) drawn.push_back(Dropout(torch::ones({500}), pass.NextSite(.5)));
    return drawn;
  };
  const StepKey key = {42, 3, 0};
  const auto first = masks(&key), again = masks(&key), off = masks(nullptr);
  for (const StepKey& other : {StepKey{43, 3, 0}, StepKey{42, 4, 0}, StepKey{42, 3, 1}})
    CHECK_FALSE(torch::equal(first[0], masks(&other)[0]));
  for (size_t site = 0; site < first.size(); ++site) {
    CHECK(torch::equal(first[site], again[site]));
    CHECK(torch::equal(off[site], torch::ones({500})));
    for (size_t other = 0; other < site; ++other) {
      // Independent halves agree on half of the places; their deviation is 11.
      const int64_t agree = first[site].eq(first[other]).sum().item<int64_t>();
      CHECK(agree == Approx(250).margin(60));
    }
  }
}

TEST_CASE("a second micro-batch adds its gradients, a new update begins anew") {
  const BaseWeights base = RandomBase(7);
  Classifier model(base, 3, 5, 0.0);
  const std::vector<EncodedExample> examples = Examples();
  const PackedBatch all = BatchOf(examples);
  model.Train(all, {1, 0, 0}, 0.5);
  const torch::Tensor whole = model.parameters().gradients().clone();
  model.Train(PackBatch(examples, {0, 1, 2}), {1, 1, 0}, 0.5);
  model.Train(PackBatch(examples, {3, 4, 5, 6}), {1, 1, 1}, 0.5);
  CHECK(torch::allclose(model.parameters().gradients(), whole, 1e-4, 1e-5));
}

TEST_CASE("packed sequences give what each gives alone") {
  const BaseWeights base = RandomBase(9);
  Classifier model(base, 3, 5, 0.1);
  const std::vector<EncodedExample> examples = Examples();
  const PackedBatch batch = BatchOf(examples);
  const BatchOutcome together = model.Evaluate(batch);
  double loss = 0;
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const BatchOutcome alone = model.Evaluate(PackBatch(examples, {batch.rows[i]}));
    loss += alone.loss_sum;
    for (size_t j = 0; j < 3; ++j) CHECK(alone.logits[j] == Approx(together.logits[i * 3 + j]).margin(1e-5));
  }
  CHECK(together.loss_sum == Approx(loss).epsilon(1e-5));
}

TEST_CASE("dropout acts in training alone, and its masks are a function of seed, update and micro-batch") {
  const BaseWeights base = RandomBase(9);
  Classifier model(base, 3, 5, 0.1);
  const PackedBatch batch = BatchOf(Examples());
  const auto train = [&](StepKey key) { return model.Train(batch, key, 1).logits; };
  const std::vector<float> logits = train({1, 2, 0});
  CHECK(logits == train({1, 2, 0}));
  CHECK(logits != train({2, 2, 0}));
  CHECK(logits != train({1, 3, 0}));
  CHECK(logits != train({1, 2, 1}));
  CHECK(logits != model.Evaluate(batch).logits);
  Classifier without(base, 3, 5, 0.0);
  const BatchOutcome trained = without.Train(batch, {1, 2, 0}, 1);
  CHECK(trained.logits == without.Evaluate(batch).logits);
}

TEST_CASE("masks keep the right share and are independent of each other and of their neighbours") {
  constexpr int64_t kCount = 1 << 20;
  const std::vector<float> ones(kCount, 1.0f);
  std::vector<std::vector<float>> masks;
  for (const uint64_t part : {1, 2}) {
    masks.emplace_back(kCount);
    DropoutKernel(ones.data(), masks.back().data(), kCount, {KeyOf({42, part}), 0.1f});
  }
  for (const std::vector<float>& mask : masks) {
    double kept = 0, total = 0, both = 0;
    for (int64_t i = 0; i < kCount; ++i) {
      kept += mask[static_cast<size_t>(i)] != 0 ? 1 : 0;
      total += static_cast<double>(mask[static_cast<size_t>(i)]);
      if (i > 0) both += mask[static_cast<size_t>(i)] != 0 && mask[static_cast<size_t>(i - 1)] != 0 ? 1 : 0;
    }
    CHECK(kept / kCount == Approx(0.9).margin(0.0015));  // five deviations
    CHECK(total / kCount == Approx(1).margin(0.0017));
    CHECK(both / kCount == Approx(0.81).margin(0.002));
  }
  for (const int64_t shift : {0, 1, 7, 384}) {
    double both = 0;
    for (int64_t i = 0; i + shift < kCount; ++i) {
      both += masks[0][static_cast<size_t>(i)] != 0 && masks[1][static_cast<size_t>(i + shift)] != 0 ? 1 : 0;
    }
    CHECK(both / static_cast<double>(kCount - shift) == Approx(0.81).margin(0.002));
  }
}

TEST_CASE("the head is a function of the seed, with zero bias") {
  const BaseWeights base = RandomBase(9);
  const auto head = [&](uint64_t seed) {
    Classifier model(base, 3, seed, 0.0);
    return model.parameters().WeightView("classifier.weight", {3, kWidth}).clone();
  };
  CHECK(torch::equal(head(1), head(1)));
  CHECK(!torch::equal(head(1), head(2)));
  CHECK(head(1).std().item<float>() == Approx(0.02).margin(0.006));
  Classifier model(base, 3, 1, 0.0);
  CHECK(model.parameters().WeightView("classifier.bias", {3}).abs().sum().item<float>() == 0);
}

}  // namespace rung
