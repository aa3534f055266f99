// Rounded products: close to those of float32, and a matter of the model alone.
#include <torch/torch.h>

#include <catch2/catch.hpp>

#include "tests/worker/model/random_model.h"
#include "worker/model/classifier.h"
#include "worker/model/layers.h"
#include "worker/model/parameters.h"

namespace rung {
namespace {

// As wide as rounding begins, with weights that neither blow up nor fade.
BaseWeights WideBase() {
  ModelConfig config = SmallConfig();
  config.embedding_size = config.hidden_size = 320;
  config.intermediate_size = 480;
  BaseWeights base = RandomBase(7, config);
  for (auto& [name, tensor] : base.tensors) {
    if (name.find("LayerNorm") != std::string::npos) continue;
    std::vector<float> values(tensor.values().begin(), tensor.values().end());
    for (float& value : values) value *= 0.15f;
    tensor = BaseTensor(std::move(values));
  }
  return base;
}

Classifier Model(const BaseWeights& base, Precision precision) {
  ModelOptions options;
  options.dropout = 0;
  options.precision = precision;
  return Classifier(base, 3, 5, options);
}

double Distance(const torch::Tensor& a, const torch::Tensor& b) {
  return static_cast<double>(((a - b).norm() / b.norm()).item<float>());
}

torch::Tensor TensorOf(const std::vector<float>& values) {
  return torch::tensor(values);
}

}  // namespace

TEST_CASE("rounded products give nearly the logits and gradients of exact ones") {
  const BaseWeights base = WideBase();
  const PackedBatch batch = BatchOf(Examples());
  Classifier exact = Model(base, Precision::kFloat32), rounded = Model(base, Precision::kBFloat16);
  CHECK(exact.precision_name() == "fp32");
  const BatchOutcome wanted = exact.Train(batch, {42, 0, 0}, 1), given = rounded.Train(batch, {42, 0, 0}, 1);
  const double logits = Distance(TensorOf(given.logits), TensorOf(wanted.logits));
  const double gradients = Distance(rounded.parameters().gradients(), exact.parameters().gradients());
  INFO(rounded.precision_name() << ": logits " << logits << ", gradients " << gradients);
  // bfloat16 has 8 bits: 2^-9 of each operand, and some layers.
  CHECK(logits < 0.03);
  CHECK(gradients < 0.06);
  // A machine without bfloat16 computes as it can, and says so.
  CHECK((rounded.precision_name() == "fp32") == (logits == 0));
  CHECK((rounded.precision_name() == "fp32") == (gradients == 0));
}

TEST_CASE("a rounded model does not leave its rounding to others") {
  const BaseWeights base = WideBase();
  const PackedBatch batch = BatchOf(Examples());
  Classifier before = Model(base, Precision::kFloat32), rounded = Model(base, Precision::kAuto);
  const std::vector<float> wanted = before.Evaluate(batch).logits;
  rounded.Train(batch, {42, 0, 0}, 1);
  CHECK(before.Evaluate(batch).logits == wanted);
}

TEST_CASE("a rounded row does not depend on how many others it is multiplied with") {
  Classifier model = Model(WideBase(), Precision::kBFloat16);
  Parameters& parameters = model.parameters();
  const LinearWeights weights = LinearOf(parameters, "encoder.layer.1.intermediate.dense");
  const torch::NoGradGuard no_gradient;
  const torch::Tensor x = torch::randn({70, 320}), all = PackedLinear(x, weights);
  for (const int64_t rows : {1, 2, 3, 5, 16, 33})
    CHECK(Distance(PackedLinear(x.narrow(0, 0, rows), weights), all.narrow(0, 0, rows)) < 1e-6);
}

}  // namespace rung
