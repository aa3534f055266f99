#include "worker/training/update_kernels.h"

#include <cmath>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define RUNG_SIMD __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define RUNG_SIMD
#endif
#define RUNG_INLINE __attribute__((always_inline)) inline

namespace rung {
namespace {

// The decay is added to the step before it is taken from the weight: learning rate x decay is below half a
// unit in the last place of 1 over much of the documented space, and w * (1 - that) would be w.
template <bool kAdaptive>
RUNG_INLINE void AdamElement(float& weight, float gradient, float& first, float& second,
                             const AdamFactors& f) {
  const float g = gradient * f.clip + f.l2 * weight;
  first = f.beta1 * first + f.rest1 * g;
  second = f.beta2 * second + f.rest2 * g * g;
  const float step = kAdaptive ? f.step * first / (std::sqrt(second) * f.root + f.epsilon) : f.step * first;
  weight -= step + f.decay * weight;
}

}  // namespace

RUNG_SIMD void AdamKernel(float* __restrict weight, const float* __restrict gradient, float* __restrict first,
                          float* __restrict second, int64_t count, const AdamFactors& factors) {
  const AdamFactors f = factors;
  if (gradient == nullptr && f.adaptive) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) AdamElement<true>(weight[i], 0.0f, first[i], second[i], f);
  } else if (gradient == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) AdamElement<false>(weight[i], 0.0f, first[i], second[i], f);
  } else if (f.adaptive) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) AdamElement<true>(weight[i], gradient[i], first[i], second[i], f);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) AdamElement<false>(weight[i], gradient[i], first[i], second[i], f);
  }
}

RUNG_SIMD void SgdKernel(float* __restrict weight, const float* __restrict gradient, float* __restrict buffer,
                         int64_t count, const SgdFactors& factors) {
  const SgdFactors f = factors;
  if (buffer == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) weight[i] -= f.rate * (gradient[i] * f.clip + f.l2 * weight[i]);
    return;
  }
  const float keep = f.first_update ? 0.0f : f.momentum;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    buffer[i] = keep * buffer[i] + (gradient[i] * f.clip + f.l2 * weight[i]);
    weight[i] -= f.rate * buffer[i];
  }
}

}  // namespace rung
