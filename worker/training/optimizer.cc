#include "worker/training/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "worker/model/kernels.h"
#include "worker/model/parameters.h"
#include "worker/training/update_kernels.h"

namespace rung {

using torch::Tensor;

struct WeightUpdater::Moments {
  Tensor first, second;  // flat, on the device; undefined where the rule keeps none
};

namespace {

// What one update of an Adam kind multiplies with, in double.
struct AdamStep {
  double step, root;
  bool adaptive;
};

AdamStep StepOf(const UpdateRule& rule, double learning_rate, int64_t t) {
  const double correction1 = 1 - std::pow(rule.beta1, static_cast<double>(t));
  const double power2 = std::pow(rule.beta2, static_cast<double>(t));
  const double correction2 = 1 - power2;
  if (rule.optimizer != Optimizer::kRAdam)
    return {learning_rate / correction1, 1 / std::sqrt(correction2), true};
  const double longest = 2 / (1 - rule.beta2) - 1;
  const double length = longest - 2 * static_cast<double>(t) * power2 / correction2;
  if (length <= 5) return {learning_rate / correction1, 1, false};
  const double rectification =
      std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
  return {learning_rate / correction1 * rectification * std::sqrt(correction2), 1, true};
}

bool KeepsSecond(const UpdateRule& rule) {
  return rule.optimizer != Optimizer::kSgd;
}
bool KeepsFirst(const UpdateRule& rule) {
  return KeepsSecond(rule) || rule.momentum > 0;
}

}  // namespace

WeightUpdater::WeightUpdater(const UpdateRule& rule, Parameters& parameters)
    : rule_(rule), parameters_(parameters), moments_(std::make_unique<Moments>()) {
  if (KeepsFirst(rule)) moments_->first = torch::zeros_like(parameters.weights());
  if (KeepsSecond(rule)) moments_->second = torch::zeros_like(parameters.weights());
}

WeightUpdater::~WeightUpdater() = default;

double WeightUpdater::GradientNorm() const {
  const Tensor& gradients = parameters_.gradients();
  const RowUse& use = parameters_.row_use();
  if (!gradients.is_cpu()) {
    Tensor squares = torch::zeros({}, gradients.options());
    if (parameters_.word_table_trained())
      squares += gradients.narrow(0, use.offset, use.rows * use.width).square().sum();
    for (const Parameters::Stretch& stretch : parameters_.trained())
      squares += gradients.narrow(0, stretch.offset, stretch.size).square().sum();
    return std::sqrt(static_cast<double>(squares.item<float>()));
  }
  const float* g = gradients.const_data_ptr<float>();
  double total = 0;
  if (parameters_.word_table_trained()) {
    for (const int64_t row : use.update_rows)
      total += SquaredSumKernel(g + use.offset + row * use.width, use.width);
  }
  for (const Parameters::Stretch& stretch : parameters_.trained())
    total += SquaredSumKernel(g + stretch.offset, stretch.size);
  return std::sqrt(total);
}

double WeightUpdater::Update(double learning_rate) {
  parameters_.SettleGradients();
  const double norm = GradientNorm();
  if (!std::isfinite(norm)) return norm;
  double clip = 1;
  if (rule_.max_gradient_norm > 0) clip = std::min(1.0, rule_.max_gradient_norm / (norm + 1e-6));
  ++updates_;
  if (parameters_.weights().is_cpu()) {
    UpdateOnCpu(learning_rate, static_cast<float>(clip));
  } else {
    UpdateOnDevice(learning_rate, clip);
  }
  return norm;
}

void WeightUpdater::UpdateOnCpu(double learning_rate, float clip) {
  float* weights = parameters_.weights().data_ptr<float>();
  const float* gradients = parameters_.gradients().const_data_ptr<float>();
  float* first = moments_->first.defined() ? moments_->first.data_ptr<float>() : nullptr;
  float* second = moments_->second.defined() ? moments_->second.data_ptr<float>() : nullptr;
  const bool sgd = rule_.optimizer == Optimizer::kSgd;
  const bool decoupled = rule_.optimizer == Optimizer::kAdamW;
  const AdamStep adam = sgd ? AdamStep{} : StepOf(rule_, learning_rate, updates_);
  const auto stretch = [&](int64_t offset, int64_t count, double decay) {
    if (sgd) {
      SgdKernel(weights + offset, gradients + offset, first == nullptr ? nullptr : first + offset, count,
                {clip, static_cast<float>(decay), static_cast<float>(learning_rate),
                 static_cast<float>(rule_.momentum), updates_ == 1});
      return;
    }
    AdamKernel(weights + offset, gradients + offset, first + offset, second + offset, count,
               {clip, static_cast<float>(rule_.beta1), static_cast<float>(rule_.beta2),
                static_cast<float>(1 - rule_.beta1), static_cast<float>(1 - rule_.beta2),
                decoupled ? 0.0f : static_cast<float>(decay),
                decoupled ? static_cast<float>(learning_rate * decay) : 0.0f, static_cast<float>(adam.step),
                static_cast<float>(adam.root), static_cast<float>(rule_.epsilon), adam.adaptive});
  };
  const RowUse& use = parameters_.row_use();
  // A row that never had a gradient has moments of zero. Without decay it stays as it is, and so it does with
  // AdamW where w - rate * decay * w rounds to w.
  const bool untouched_stay =
      rule_.weight_decay == 0 || (decoupled && learning_rate * rule_.weight_decay < 0x1.0p-26);
  for (const ParameterInfo& info : parameters_.infos()) {
    if (!info.trained) continue;
    const double decay = info.decayed ? rule_.weight_decay : 0;
    if (info.offset != use.offset || !untouched_stay) {
      stretch(info.offset, info.size, decay);
      continue;
    }
    for (int64_t row = 0; row < use.rows;) {
      if (use.ever[static_cast<size_t>(row)] == 0) {
        ++row;
        continue;
      }
      int64_t end = row;
      while (end < use.rows && use.ever[static_cast<size_t>(end)] != 0) ++end;
      stretch(use.offset + row * use.width, (end - row) * use.width, decay);
      row = end;
    }
  }
}

void WeightUpdater::UpdateOnDevice(double learning_rate, double clip) {
  const torch::NoGradGuard no_gradient;
  Tensor& weights = parameters_.weights();
  Tensor gradients = parameters_.gradients() * clip;
  Tensor decay = torch::zeros_like(weights);
  Tensor trained = torch::zeros_like(weights);
  for (const ParameterInfo& info : parameters_.infos()) {
    if (info.decayed) decay.narrow(0, info.offset, info.size).fill_(rule_.weight_decay);
    if (info.trained) trained.narrow(0, info.offset, info.size).fill_(1);
  }
  gradients.mul_(trained);
  decay.mul_(trained);
  const bool decoupled = rule_.optimizer == Optimizer::kAdamW;
  if (!decoupled) gradients.addcmul_(decay, weights);
  Tensor& first = moments_->first;
  if (rule_.optimizer == Optimizer::kSgd) {
    if (first.defined()) first.mul_(updates_ == 1 ? 0 : rule_.momentum).add_(gradients);
    weights.sub_(first.defined() ? first : gradients, learning_rate);
    return;
  }
  const AdamStep adam = StepOf(rule_, learning_rate, updates_);
  first.mul_(rule_.beta1).add_(gradients, 1 - rule_.beta1);
  moments_->second.mul_(rule_.beta2).addcmul_(gradients, gradients, 1 - rule_.beta2);
  Tensor step = first * adam.step;
  if (adam.adaptive) step.div_(moments_->second.sqrt().mul_(adam.root).add_(rule_.epsilon));
  if (decoupled) step.addcmul_(decay, weights, learning_rate);
  weights.sub_(step);
}

static std::vector<float> ToHost(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  const Tensor host = tensor.to(torch::kCPU).contiguous();
  return {host.data_ptr<float>(), host.data_ptr<float>() + host.numel()};
}

OptimizerState WeightUpdater::state() const {
  return {updates_, ToHost(moments_->first), ToHost(moments_->second)};
}

static void FromHost(const std::vector<float>& values, Tensor& tensor) {
  if (!tensor.defined()) return;
  tensor.copy_(torch::from_blob(const_cast<float*>(values.data()), {static_cast<int64_t>(values.size())}));
}

void WeightUpdater::Restore(const OptimizerState& state) {
  updates_ = state.updates;
  FromHost(state.first, moments_->first);
  FromHost(state.second, moments_->second);
  // Which rows ever had a gradient is what their moments tell: a row of zeros would not be moved by them.
  RowUse& use = parameters_.row_use();
  for (int64_t row = 0; row < use.rows; ++row) {
    const auto begin = static_cast<std::ptrdiff_t>(use.offset + row * use.width);
    const auto zero = [](float value) { return value == 0; };
    const bool none = state.first.empty() ||
                      std::all_of(state.first.begin() + begin, state.first.begin() + begin + use.width, zero);
    const bool none2 = state.second.empty() || std::all_of(state.second.begin() + begin,
                                                           state.second.begin() + begin + use.width, zero);
    use.ever[static_cast<size_t>(row)] = !(none && none2);
  }
}

}  // namespace rung
