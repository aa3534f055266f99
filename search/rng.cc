#include "search/rng.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace rung {
namespace {

// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". A pure function of key
// and counter.
std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

}  // namespace

Rng::Rng(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

uint64_t Rng::Next() {
  const uint64_t block = counter_ / 2;
  const std::array<uint32_t, 4> bits =
      Philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
              static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)},
             {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  const size_t half = counter_++ % 2 == 0 ? 0 : 2;
  return (uint64_t{bits[half + 1]} << 32) | bits[half];
}

double Rng::Uniform() {
  return static_cast<double>(Next() >> 11) * 0x1p-53;
}

int64_t Rng::Below(int64_t n) {
  RUNG_CHECK(n >= 1, "a draw needs at least one outcome");
  const auto range = static_cast<uint64_t>(n);
  // Values below 2^64 mod n would come up once too often.
  const uint64_t reject_below = (0 - range) % range;
  uint64_t bits = Next();
  while (bits < reject_below) bits = Next();
  return static_cast<int64_t>(bits % range);
}

double Rng::Normal() {
  double p = Uniform();
  while (p <= 0) p = Uniform();
  return InverseNormalCdf(p);
}

double Rng::TruncatedNormal(double mean, double sd, double low, double high) {
  const double below = NormalCdf((low - mean) / sd);
  const double above = NormalCdf((high - mean) / sd);
  const double p = below + Uniform() * (above - below);
  if (p <= 0) return low;
  if (p >= 1) return high;
  return std::fmin(high, std::fmax(low, mean + sd * InverseNormalCdf(p)));
}

// Marsaglia and Tsang 2000, "A simple method for generating gamma variables"; below 1 by their boost.
double Rng::Gamma(double shape) {
  if (shape < 1) {
    const double boosted = Gamma(shape + 1);
    double u = Uniform();
    while (u <= 0) u = Uniform();
    return boosted * std::pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    const double u = Uniform();
    if (u > 0 && std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double Rng::Beta(double alpha, double beta) {
  RUNG_CHECK(alpha > 0 && beta > 0, "a beta distribution");
  const double a = Gamma(alpha);
  const double b = Gamma(beta);
  return a + b > 0 ? a / (a + b) : 0.5;
}

double NormalCdf(double x) {
  return 0.5 * std::erfc(-x * 0.70710678118654752440);
}

// Acklam's rational approximation (relative error 1.15e-9), then one step of Halley's method.
double InverseNormalCdf(double p) {
  RUNG_CHECK(p > 0 && p < 1, "a probability strictly between 0 and 1");
  constexpr std::array<double, 6> a = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                       1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr std::array<double, 5> b = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                       6.680131188771972e+01, -1.328068155288572e+01};
  constexpr std::array<double, 6> c = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                       -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr std::array<double, 4> d = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                       3.754408661907416e+00};
  constexpr double kTail = 0.02425;
  double x = 0;
  if (p < kTail || p > 1 - kTail) {
    const double q = std::sqrt(-2 * std::log(p < kTail ? p : 1 - p));
    x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
        ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    if (p > 1 - kTail) x = -x;
  } else {
    const double q = p - 0.5;
    const double r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
        (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  const double error = NormalCdf(x) - p;
  const double u = error * 2.50662827463100050242 * std::exp(0.5 * x * x);
  const double better = x - u / (1 + 0.5 * x * u);
  return std::isfinite(better) ? better : x;
}

}  // namespace rung
