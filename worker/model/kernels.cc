#include "worker/model/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

// One loop, three instruction sets: the dynamic linker picks the best that the CPU has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define RUNG_SIMD __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define RUNG_SIMD
#endif
#define RUNG_INLINE __attribute__((always_inline)) inline

namespace rung {
namespace {

struct Mask {
  uint32_t first, second, threshold;
  float scale;
};

Mask MaskOf(DropoutSite site) {
  return {static_cast<uint32_t>(site.key), static_cast<uint32_t>(site.key >> 32),
          static_cast<uint32_t>(static_cast<double>(site.rate) * 0x1.0p32), 1.0f / (1.0f - site.rate)};
}

// The finaliser "lowbias32" of C. Wellons' hash prospector, with the second half of the key put in between
// its rounds: two sites whose counters overlap still give independent masks.
RUNG_INLINE float Keep(const Mask& mask, uint32_t element) {
  uint32_t x = element * 0x9E3779B1u + mask.first;
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= mask.second;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  x ^= x >> 16;
  return x >= mask.threshold ? mask.scale : 0.0f;
}

// e^x for x <= 0 (Cephes' expf: range reduction and a polynomial of degree 5, under 2 ulp).
RUNG_INLINE float ExpOfNegative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to the nearest integer
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - 0x4B400000) << 23;
  return std::bit_cast<float>(std::bit_cast<int32_t>(p) + exponent);
}

}  // namespace

RUNG_SIMD void DropoutKernel(const float* in, float* out, int64_t count, DropoutSite site) {
  const Mask mask = MaskOf(site);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) out[i] = in[i] * Keep(mask, static_cast<uint32_t>(i));
}

RUNG_SIMD void AddNormForwardKernel(const NormForward& a) {
  const Mask mask = MaskOf(a.site);
  const bool drop = a.site.active();
  const int64_t width = a.width;
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* y = a.y + i * width;
    float* sum = a.normalized + i * width;
    const uint32_t first = static_cast<uint32_t>(i * width);
    if (drop) {
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) sum[j] = y[j] * Keep(mask, first + static_cast<uint32_t>(j));
    } else {
      std::memcpy(sum, y, sizeof(float) * static_cast<size_t>(width));
    }
    float mean = 0;
    if (a.residual != nullptr) {
      const float* residual = a.residual + i * width;
#pragma omp simd reduction(+ : mean)
      for (int64_t j = 0; j < width; ++j) {
        sum[j] += residual[j];
        mean += sum[j];
      }
    } else {
#pragma omp simd reduction(+ : mean)
      for (int64_t j = 0; j < width; ++j) mean += sum[j];
    }
    mean /= static_cast<float>(width);
    float variance = 0;
#pragma omp simd reduction(+ : variance)
    for (int64_t j = 0; j < width; ++j) {
      sum[j] -= mean;
      variance += sum[j] * sum[j];
    }
    const float inverse = 1.0f / std::sqrt(variance / static_cast<float>(width) + a.eps);
    a.inverse_deviation[i] = inverse;
    float* out = a.out + i * width;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) {
      sum[j] *= inverse;
      out[j] = sum[j] * a.gamma[j] + a.beta[j];
    }
  }
}

RUNG_SIMD void AddNormBackwardKernel(const NormBackward& a) {
  const Mask mask = MaskOf(a.site);
  const int64_t width = a.width;
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* d_out = a.d_out + i * width;
    const float* normalized = a.normalized + i * width;
    float* d_sum = a.d_sum + i * width;
    float total = 0, projected = 0;
#pragma omp simd reduction(+ : total, projected)
    for (int64_t j = 0; j < width; ++j) {
      const float d = d_out[j] * a.gamma[j];
      total += d;
      projected += d * normalized[j];
      a.d_gamma[j] += d_out[j] * normalized[j];
      a.d_beta[j] += d_out[j];
    }
    const float inverse = a.inverse_deviation[i];
    total *= inverse / static_cast<float>(width);
    projected *= inverse / static_cast<float>(width);
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) {
      d_sum[j] = d_out[j] * a.gamma[j] * inverse - total - normalized[j] * projected;
    }
    if (a.d_y == nullptr) continue;
    float* d_y = a.d_y + i * width;
    const uint32_t first = static_cast<uint32_t>(i * width);
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) d_y[j] = d_sum[j] * Keep(mask, first + static_cast<uint32_t>(j));
  }
}

RUNG_SIMD void SplitHeadsKernel(const float* source, int64_t stride, float* out, int64_t sequences,
                                int64_t length, int64_t heads, int64_t head_width, float scale) {
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < length; ++i) {
        const float* from = source + (s * length + i) * stride + h * head_width;
        float* to = out + ((s * heads + h) * length + i) * head_width;
#pragma omp simd
        for (int64_t j = 0; j < head_width; ++j) to[j] = from[j] * scale;
      }
    }
  }
}

RUNG_SIMD void JoinHeadsKernel(const float* source, float* target, int64_t stride, int64_t sequences,
                               int64_t length, int64_t heads, int64_t head_width, float scale) {
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < length; ++i) {
        const float* from = source + ((s * heads + h) * length + i) * head_width;
        float* to = target + (s * length + i) * stride + h * head_width;
#pragma omp simd
        for (int64_t j = 0; j < head_width; ++j) to[j] = from[j] * scale;
      }
    }
  }
}

RUNG_SIMD void SoftmaxKernel(float* scores, float* dropped, int64_t rows, int64_t width, DropoutSite site,
                             int64_t first_element) {
  const Mask mask = MaskOf(site);
  for (int64_t i = 0; i < rows; ++i) {
    float* row = scores + i * width;
    float largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < width; ++j) largest = row[j] > largest ? row[j] : largest;
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < width; ++j) {
      row[j] = ExpOfNegative(row[j] - largest);
      total += row[j];
    }
    const float inverse = 1.0f / total;
    if (!site.active()) {
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) row[j] *= inverse;
      continue;
    }
    float* out = dropped + i * width;
    const uint32_t first = static_cast<uint32_t>(first_element + i * width);
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) {
      row[j] *= inverse;
      out[j] = row[j] * Keep(mask, first + static_cast<uint32_t>(j));
    }
  }
}

RUNG_SIMD void SoftmaxBackwardKernel(const float* probabilities, float* gradient, float* dropped,
                                     int64_t rows, int64_t width, DropoutSite site, int64_t first_element) {
  const Mask mask = MaskOf(site);
  for (int64_t i = 0; i < rows; ++i) {
    const float* p = probabilities + i * width;
    float* g = gradient + i * width;
    float projected = 0;
    if (site.active()) {
      float* out = dropped + i * width;
      const uint32_t first = static_cast<uint32_t>(first_element + i * width);
#pragma omp simd reduction(+ : projected)
      for (int64_t j = 0; j < width; ++j) {
        const float keep = Keep(mask, first + static_cast<uint32_t>(j));
        out[j] = p[j] * keep;
        g[j] *= keep;
        projected += g[j] * p[j];
      }
    } else {
#pragma omp simd reduction(+ : projected)
      for (int64_t j = 0; j < width; ++j) projected += g[j] * p[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) g[j] = p[j] * (g[j] - projected);
  }
}

RUNG_SIMD void ColumnSumKernel(const float* m, float* sums, int64_t rows, int64_t width, bool accumulate) {
  if (!accumulate) std::fill(sums, sums + width, 0.0f);
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = m + i * width;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) sums[j] += row[j];
  }
}

RUNG_SIMD void EmbeddingSumKernel(const float* word, const float* position, const float* type,
                                  const int64_t* ids, const int64_t* positions, const int64_t* types,
                                  float* out, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* w = word + ids[i] * width;
    float* o = out + i * width;
    if (position != nullptr && type != nullptr) {
      const float* p = position + positions[i] * width;
      const float* t = type + types[i] * width;
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) o[j] = w[j] + t[j] + p[j];
      continue;
    }
    const float* other = position != nullptr ? position + positions[i] * width
                         : type != nullptr   ? type + types[i] * width
                                             : nullptr;
    if (other == nullptr) {
      std::copy(w, w + width, o);
      continue;
    }
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) o[j] = w[j] + other[j];
  }
}

RUNG_SIMD void ScatterAddKernel(const float* gradient, const int64_t* index, float* table, int64_t rows,
                                int64_t width) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* g = gradient + i * width;
    float* t = table + index[i] * width;
#pragma omp simd
    for (int64_t j = 0; j < width; ++j) t[j] += g[j];
  }
}

RUNG_SIMD double SquaredSumKernel(const float* values, int64_t count) {
  constexpr int64_t kBlock = 4096;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    float block = 0;
#pragma omp simd reduction(+ : block)
    for (int64_t i = begin; i < end; ++i) block += values[i] * values[i];
    total += static_cast<double>(block);
  }
  return total;
}

}  // namespace rung
