// Adam, AdamW, SGD and RAdam as in torch.optim, each one pass over the flat weights, with weight decay on
// matrices and embeddings only. Adam, SGD and RAdam add decay to the gradient (L2), AdamW takes it from the
// weight (Loshchilov and Hutter 2019; Liu et al. 2020 for RAdam). One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/text/trainer_options.h"

namespace rung {

class Parameters;

struct UpdateRule {
  Optimizer optimizer = Optimizer::kAdamW;
  double momentum = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;
  double max_gradient_norm = 1.0;  // 0: no clipping
};

// A piece of state by name, as checkpoints keep it: first and second moments in the layout of the weights.
// Empty vectors where the rule keeps none.
struct OptimizerState {
  int64_t updates = 0;
  std::vector<float> first, second;
};

class WeightUpdater {
 public:
  // `parameters` must live longer.
  WeightUpdater(const UpdateRule& rule, Parameters& parameters);
  ~WeightUpdater();

  // Clips the accumulated gradients by their global norm and updates all weights. Returns the norm before
  // clipping; if it is not finite nothing is updated.
  double Update(double learning_rate);

  OptimizerState state() const;
  void Restore(const OptimizerState& state);

 private:
  struct Moments;
  double GradientNorm() const;
  void UpdateOnCpu(double learning_rate, float clip);
  void UpdateOnDevice(double learning_rate, double clip);

  const UpdateRule rule_;
  Parameters& parameters_;
  int64_t updates_ = 0;
  std::unique_ptr<Moments> moments_;
};

}  // namespace rung
