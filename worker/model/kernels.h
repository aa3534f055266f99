// Fused float32 loops for CPUs, compiled for AVX-512, AVX2 and plain x86-64 and picked when the program
// starts. Row-major arrays; no allocation, no threads. Thread-safe on distinct outputs.
#pragma once

#include <cstdint>

namespace rung {

// Where a dropout mask comes from: element i of this site is a function of (key, i) alone, so the backward
// pass draws the mask again instead of keeping it.
struct DropoutSite {
  uint64_t key = 0;
  float rate = 0;  // 0: off
  bool active() const { return rate > 0; }
};

// out[i] = in[i] / (1 - rate) or 0. May be in place.
void DropoutKernel(const float* in, float* out, int64_t count, DropoutSite site);

// sum = residual + dropout(y); normalized = (sum - mean) * inverse_deviation; out = normalized * gamma +
// beta. residual may be null. All (rows, width); inverse_deviation (rows).
struct NormForward {
  const float* residual;
  const float* y;
  const float* gamma;
  const float* beta;
  float* out;
  float* normalized;
  float* inverse_deviation;
  int64_t rows, width;
  float eps;
  DropoutSite site;
};
void AddNormForwardKernel(const NormForward& a);

// From d_out: d_sum (the residual's gradient), d_y (may be null where the site is off: then it is d_sum), and
// d_gamma, d_beta (added to).
struct NormBackward {
  const float* d_out;
  const float* normalized;
  const float* inverse_deviation;
  const float* gamma;
  float* d_sum;
  float* d_y;
  float* d_gamma;
  float* d_beta;
  int64_t rows, width;
  DropoutSite site;
};
void AddNormBackwardKernel(const NormBackward& a);

// Rows of `source` (stride apart) into heads: out is (sequences, heads, length, head_width), times `scale`.
void SplitHeadsKernel(const float* source, int64_t stride, float* out, int64_t sequences, int64_t length,
                      int64_t heads, int64_t head_width, float scale);
// The way back: heads into rows of `target`, times `scale`.
void JoinHeadsKernel(const float* source, float* target, int64_t stride, int64_t sequences, int64_t length,
                     int64_t heads, int64_t head_width, float scale);

// Softmax of each row, in place; with an active site `dropped` gets the dropped probabilities (else it is not
// touched).
void SoftmaxKernel(float* scores, float* dropped, int64_t rows, int64_t width, DropoutSite site,
                   int64_t first_element);
// In place: gradient of the dropped probabilities -> gradient of the scores. `dropped` (may be null) gets the
// dropped probabilities again.
void SoftmaxBackwardKernel(const float* probabilities, float* gradient, float* dropped, int64_t rows,
                           int64_t width, DropoutSite site, int64_t first_element);

// sums[j] (+)= sum over rows of m[i][j].
void ColumnSumKernel(const float* m, float* sums, int64_t rows, int64_t width, bool accumulate);

// out[i] = word[ids[i]] + position[positions[i]] + type[types[i]]; position and type may be null.
void EmbeddingSumKernel(const float* word, const float* position, const float* type, const int64_t* ids,
                        const int64_t* positions, const int64_t* types, float* out, int64_t rows,
                        int64_t width);
// table[index[i]] += gradient[i].
void ScatterAddKernel(const float* gradient, const int64_t* index, float* table, int64_t rows, int64_t width);

// Sum of squares, accumulated in double over blocks.
double SquaredSumKernel(const float* values, int64_t count);

}  // namespace rung
