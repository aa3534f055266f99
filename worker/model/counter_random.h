// Random numbers as functions of a key and a counter: no state, so that resumed training draws what
// uninterrupted training draws. SplitMix64 (Steele, Lea, Flood 2014) for keys, orders and initial weights.
// Thread-safe: values only.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

namespace rung {

constexpr uint64_t Mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// One key from several parts; (1, 2) and (2, 1) differ.
constexpr uint64_t KeyOf(std::initializer_list<uint64_t> parts) {
  uint64_t key = 0x52756E67u;
  for (const uint64_t part : parts) key = Mix64(key ^ Mix64(part));
  return key;
}

// The purposes a training seed is split into: two draws never share a key.
enum class RandomPurpose : uint64_t { kOrder = 1, kDropout = 2, kHead = 3 };

class CounterRandom {
 public:
  explicit CounterRandom(uint64_t key) : key_(key) {}

  uint64_t Next() { return Mix64(key_ + 0x9E3779B97F4A7C15u * counter_++); }

  // Uniform in [0, n); n > 0. The bias of the multiplication is below n / 2^64.
  uint64_t Below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * n) >> 64);
  }

  // Uniform in (0, 1).
  double Uniform() { return (static_cast<double>(Next() >> 11) + 0.5) * 0x1.0p-53; }

  // Box-Muller; one of the pair is thrown away.
  double Normal() {
    const double radius = std::sqrt(-2.0 * std::log(Uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * Uniform());
  }

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace rung
