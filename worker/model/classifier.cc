#include "worker/model/classifier.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "worker/model/counter_random.h"
#include "worker/model/encoder.h"
#include "worker/model/head.h"
#include "worker/model/parameters.h"
#include "worker/model/pass.h"
#include "worker/text/model_tensors.h"

namespace rung {
namespace {

using torch::Tensor;

ModelConfig WithDropout(ModelConfig config, double rate) {
  if (rate < 0) return config;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = rate;
  config.classifier_dropout = config.pooler_dropout = rate;
  return config;
}

std::vector<ParameterInfo> ParameterList(const std::vector<ClassifierTensor>& tensors) {
  std::vector<ParameterInfo> infos;
  for (const ClassifierTensor& entry : tensors) {
    const ModelTensor& tensor = entry.tensor;
    infos.push_back({tensor.name, entry.stored, tensor.shape, tensor.kind, tensor.joins_next, 0, 0,
                     tensor.kind != TensorKind::kVector, entry.trained});
  }
  return infos;
}

bool CpuMultipliesBFloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Rounding RoundingOf(Precision precision, torch::Device device) {
  if (precision == Precision::kFloat32) return Rounding::kNone;
  if (device.is_cpu()) return CpuMultipliesBFloat16() ? Rounding::kBFloat16 : Rounding::kNone;
  return precision == Precision::kAuto ? Rounding::kTf32 : Rounding::kBFloat16;
}

Parameters MakeParameters(const ModelConfig& config, const ModelOptions& options, int labels,
                          torch::Device device) {
  Parameters parameters(ParameterList(ClassifierTensors(config, options, labels)), WordTableName(), device);
  parameters.set_lora({options.lora.Scale(), options.lora.dropout});
  parameters.set_rounding(RoundingOf(options.precision, device));
  return parameters;
}

}  // namespace

struct Classifier::Model {
  Model(const ModelConfig& config, const ModelOptions& options, int labels, torch::Device on)
      : device(on),
        parameters(MakeParameters(config, options, labels, on)),
        encoder(MakeEncoder(config, parameters)),
        head(MakeHead(config, options.head, parameters)),
        anchor(torch::zeros({1}, torch::TensorOptions().device(on)).requires_grad_(true)) {}

  PackedInput Input(const PackedBatch& batch, const ModelConfig& config) const {
    PackedBatch read = batch;
    read.positions = encoder->Positions(batch);
    if (config.type_vocab_size < 2) std::fill(read.token_types.begin(), read.token_types.end(), 0);
    return ToDevice(read, device);
  }

  Tensor Logits(Pass& pass) const {
    pass.set_layers_read(head->layers_read());
    Tensor hidden = encoder->Forward(pass, head->rows_read());
    // Nothing below the head is trained: gradients end here.
    if (pass.training() && !hidden.requires_grad()) hidden = hidden.detach().requires_grad_(true);
    return head->Logits(hidden, pass);
  }

  const torch::Device device;
  Parameters parameters;
  const std::unique_ptr<Encoder> encoder;
  const std::unique_ptr<Head> head;
  const Tensor anchor;
};

// New matrices are drawn in their order: heads from N(0, deviation), an adapter's A from U(-1/sqrt(in),
// 1/sqrt(in)). Its B and new biases are zero.
static void FillNew(Parameters& parameters, const std::vector<ClassifierTensor>& tensors, uint64_t seed,
                    double deviation, Tensor& host) {
  CounterRandom random(KeyOf({static_cast<uint64_t>(RandomPurpose::kHead), seed}));
  for (const auto& [tensor, stored, trained, is_new] : tensors) {
    if (!is_new || tensor.kind == TensorKind::kVector) continue;
    const bool lora = tensor.name.starts_with("lora.");
    if (lora && tensor.name.ends_with(".B")) continue;
    const ParameterInfo& info = parameters.Find(tensor.name);
    float* values = host.data_ptr<float>() + info.offset;
    const double bound = 1 / std::sqrt(static_cast<double>(tensor.shape[1]));
    for (int64_t i = 0; i < info.size; ++i)
      values[i] = static_cast<float>(lora ? (2 * random.Uniform() - 1) * bound : random.Normal() * deviation);
  }
}

Classifier::Classifier(const BaseWeights& base, int labels, uint64_t seed, const ModelOptions& options)
    : config_(WithDropout(base.config, options.dropout)),
      options_(options),
      labels_(labels),
      trained_from_(LowestTrainedLayer(config_, options)) {
  const torch::Device device = torch::cuda::is_available() ? torch::kCUDA : torch::kCPU;
  model_ = std::make_unique<Model>(config_, options, labels, device);
  Parameters& parameters = model_->parameters;
  Tensor host = device.is_cpu() ? parameters.weights() : torch::zeros(parameters.weights().sizes());
  FillNew(parameters, ClassifierTensors(config_, options, labels), seed, config_.initializer_range, host);
  for (const auto& [name, tensor] : base.tensors) {
    const std::span<const float> values = tensor.values();
    const ParameterInfo& info = parameters.Find(name);
    RUNG_CHECK(static_cast<size_t>(info.size) == values.size(), name.c_str());
    std::copy(values.begin(), values.end(), host.data_ptr<float>() + info.offset);
  }
  if (!device.is_cpu()) parameters.weights().copy_(host);
}

static ModelOptions WithDropoutOnly(double dropout) {
  ModelOptions options;
  options.dropout = dropout;
  return options;
}

Classifier::Classifier(const BaseWeights& base, int labels, uint64_t seed, double dropout)
    : Classifier(base, labels, seed, WithDropoutOnly(dropout)) {}

void Classifier::MergeAdapters() {
  Parameters& parameters = model_->parameters;
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.name.starts_with("lora.") || !info.name.ends_with(".A")) continue;
    const std::string layer = info.name.substr(5, info.name.size() - 7);
    WeightSlot b = parameters.Slot(LoraName(layer, 'B'));
    parameters.Slot(layer + ".weight")
        .value.add_(at::mm(b.value, parameters.Slot(info.name).value), parameters.lora().scale);
    b.value.zero_();
  }
}

Classifier::~Classifier() = default;

Parameters& Classifier::parameters() {
  return model_->parameters;
}

std::string Classifier::device_name() const {
  return model_->device.is_cpu() ? "cpu" : "cuda";
}

std::string Classifier::precision_name() const {
  const Rounding rounding = RoundingOf(options_.precision, model_->device);
  return rounding == Rounding::kNone ? "fp32" : rounding == Rounding::kTf32 ? "tf32" : "bf16";
}

static std::vector<float> ToHost(const Tensor& tensor) {
  const Tensor host = tensor.detach().to(torch::kCPU).contiguous();
  return {host.data_ptr<float>(), host.data_ptr<float>() + host.numel()};
}

static Tensor LossSum(const Tensor& logits, const PackedBatch& batch, Task task) {
  if (task == Task::kSingleLabel) {
    const Tensor labels =
        torch::from_blob(const_cast<int64_t*>(batch.labels.data()), {batch.sequences()}, torch::kInt64)
            .to(logits.device());
    if (batch.weights.empty()) return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
    const Tensor weights =
        torch::from_blob(const_cast<float*>(batch.weights.data()), {batch.sequences()}, torch::kFloat32)
            .to(logits.device());
    return at::dot(at::cross_entropy_loss(logits, labels, {}, at::Reduction::None), weights);
  }
  RUNG_CHECK(static_cast<int64_t>(batch.targets.size()) == logits.numel(), "a target for each output");
  const Tensor targets =
      torch::from_blob(const_cast<float*>(batch.targets.data()), logits.sizes(), torch::kFloat32)
          .to(logits.device());
  if (task == Task::kRegression) return at::mse_loss(logits, targets, at::Reduction::Sum);
  return at::binary_cross_entropy_with_logits(logits, targets, {}, {}, at::Reduction::Sum) / logits.size(1);
}

BatchOutcome Classifier::Train(const PackedBatch& batch, const StepKey& key, double scale) {
  Parameters& parameters = model_->parameters;
  if (key.micro_batch == 0) parameters.BeginUpdate();
  parameters.UseRows(batch.ids);
  Pass pass(model_->Input(batch, config_), &key, model_->anchor, trained_from_);
  const Tensor logits = model_->Logits(pass);
  const Tensor loss = LossSum(logits, batch, options_.task);
  const double loss_sum = static_cast<double>(loss.item<float>());
  (loss * scale).backward();
  return {loss_sum, ToHost(logits)};
}

BatchOutcome Classifier::Evaluate(const PackedBatch& batch) {
  const torch::NoGradGuard no_gradient;
  Pass pass(model_->Input(batch, config_), nullptr, model_->anchor, trained_from_);
  const Tensor logits = model_->Logits(pass);
  return {static_cast<double>(LossSum(logits, batch, options_.task).item<float>()), ToHost(logits)};
}

std::vector<float> Classifier::HiddenStates(const PackedBatch& batch) {
  const torch::NoGradGuard no_gradient;
  Pass pass(model_->Input(batch, config_), nullptr, model_->anchor, trained_from_);
  return ToHost(model_->encoder->Forward(pass, RowsRead::kAll));
}

}  // namespace rung
