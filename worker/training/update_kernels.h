// One pass of an optimiser over a stretch of flat weights, on the CPU. Compiled for AVX-512, AVX2 and plain
// x86-64. Thread-safe on distinct arrays.
#pragma once

#include <cstdint>

namespace rung {

// What an update multiplies with; computed once an update, in double.
struct AdamFactors {
  float clip;  // of the gradient
  float beta1, beta2;
  float rest1, rest2;  // 1 - beta1, 1 - beta2
  float l2;            // weight decay in the gradient
  float decay;         // learning rate x weight decay, taken from the weight
  float step;          // learning rate / (1 - beta1^t) [x rectification x sqrt(1 - beta2^t)]
  float root;          // 1 / sqrt(1 - beta2^t); RAdam: 1
  float epsilon;
  bool adaptive;  // false: RAdam's first updates, without the second moment
};
// gradient may be null: all zero.
void AdamKernel(float* weight, const float* gradient, float* first, float* second, int64_t count,
                const AdamFactors& factors);

struct SgdFactors {
  float clip, l2, rate, momentum;
  bool first_update;  // the momentum buffer starts as the gradient
};
// buffer may be null where momentum is 0.
void SgdKernel(float* weight, const float* gradient, float* buffer, int64_t count, const SgdFactors& factors);

}  // namespace rung
