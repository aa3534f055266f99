// Seeded random numbers that are equal on every machine: a counter-based generator, own inverse normal. No
// <random>. Not thread-safe: one Rng belongs to one decision.
#pragma once

#include <cstdint>

namespace rung {

class Rng {
 public:
  // The stream is a function of the two words only: (study seed, trial id).
  Rng(uint64_t seed, uint64_t stream);

  uint64_t Next();           // 64 uniform bits
  double Uniform();          // [0, 1), 53 bits
  int64_t Below(int64_t n);  // uniform on 0..n-1, unbiased; n >= 1
  double Normal();  // standard normal by inversion (Acklam's rational approximation + one Halley step)
  double TruncatedNormal(double mean, double sd, double low, double high);  // by inversion of the CDF
  double Beta(double alpha, double beta);                                   // alpha, beta > 0

 private:
  double Gamma(double shape);
  uint64_t seed_;
  uint64_t stream_;
  uint64_t counter_ = 0;
};

double NormalCdf(double x);
double InverseNormalCdf(double p);  // p in (0, 1)

}  // namespace rung
