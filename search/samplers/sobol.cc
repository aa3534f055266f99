#include "search/samplers/sobol.h"

#include <array>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr int kBits = 32;
constexpr char kVersion[] = "sobol/1";

// A primitive polynomial over GF(2): its degree, its inner coefficients, the first direction numbers.
struct Polynomial {
  int degree;
  uint32_t coefficients;
  std::array<uint32_t, 7> first;
};
constexpr std::array<Polynomial, kSobolDimensions - 1> kPolynomials = {{
    {1, 0, {1}},
    {2, 1, {1, 3}},
    {3, 1, {1, 3, 1}},
    {3, 2, {1, 1, 1}},
    {4, 1, {1, 1, 3, 3}},
    {4, 4, {1, 3, 5, 13}},
    {5, 2, {1, 1, 5, 5, 17}},
    {5, 4, {1, 1, 5, 5, 5}},
    {5, 7, {1, 1, 7, 11, 19}},
    {5, 11, {1, 1, 5, 1, 1}},
    {5, 13, {1, 1, 1, 3, 11}},
    {5, 14, {1, 3, 5, 5, 31}},
    {6, 1, {1, 3, 3, 9, 7, 49}},
    {6, 13, {1, 1, 1, 15, 21, 21}},
    {6, 16, {1, 3, 1, 13, 27, 49}},
    {6, 19, {1, 1, 1, 15, 7, 5}},
    {6, 22, {1, 3, 1, 15, 13, 25}},
    {6, 25, {1, 1, 5, 5, 19, 61}},
    {7, 1, {1, 3, 7, 11, 23, 15, 103}},
    {7, 4, {1, 3, 7, 13, 13, 15, 69}},
}};

using Directions = std::array<uint32_t, kBits>;

constexpr std::array<Directions, kSobolDimensions> AllDirections() {
  std::array<Directions, kSobolDimensions> all{};
  for (int i = 0; i < kBits; ++i) all[0][static_cast<size_t>(i)] = 1U << (kBits - 1 - i);
  for (size_t k = 0; k < kPolynomials.size(); ++k) {
    const Polynomial& polynomial = kPolynomials[k];
    const int s = polynomial.degree;
    Directions& v = all[k + 1];
    for (int i = 0; i < kBits; ++i) {
      const auto at = static_cast<size_t>(i);
      if (i < s) {
        v[at] = polynomial.first[at] << (kBits - 1 - i);
        continue;
      }
      const uint32_t oldest = v[static_cast<size_t>(i - s)];
      v[at] = oldest ^ (oldest >> s);
      for (int j = 1; j < s; ++j) {
        if (((polynomial.coefficients >> (s - 1 - j)) & 1U) != 0) v[at] ^= v[static_cast<size_t>(i - j)];
      }
    }
  }
  return all;
}
constexpr std::array<Directions, kSobolDimensions> kDirections = AllDirections();

uint32_t Reversed(uint32_t bits) {
  uint32_t reversed = 0;
  for (int i = 0; i < kBits; ++i, bits >>= 1) reversed = (reversed << 1) | (bits & 1U);
  return reversed;
}

// Each bit is flipped by a hash of the bits above it: Owen's nested uniform scrambling (Laine and Karras 2011
// with Burley's constants).
uint32_t Scrambled(uint32_t bits, uint32_t seed) {
  uint32_t x = Reversed(bits) + seed;
  x ^= x * 0x6c50b47cU;
  x ^= x * 0xb82f1e52U;
  x ^= x * 0xc7afe638U;
  x ^= x * 0x8d22f6e6U;
  return Reversed(x);
}

class SobolSampler final : public Sampler {
 public:
  SobolSampler(const Space& space, int64_t seed)
      : space_(space), seed_(static_cast<uint64_t>(seed)), encoding_(space), fresh_(space) {}

  // The next point that is no known config and not forbidden. What has a prior is drawn from it: the sequence
  // is uniform.
  Proposal Propose(const History& history, Rng& rng) const override {
    constexpr uint32_t kTries = 1000;
    const auto first = static_cast<uint32_t>(history.configs.size());
    for (uint32_t index = first; index < first + kTries && encoding_.dimensions() > 0; ++index) {
      std::vector<double> point;
      for (size_t j = 0; j < encoding_.dimensions(); ++j) {
        const double unit = ScrambledSobol(index, static_cast<int>(j), seed_);
        const Parameter& parameter = encoding_.parameter(j);
        if (HasPrior(parameter)) {
          point.push_back(std::nan(""));
        } else {
          point.push_back(encoding_.choices()[j] == 0 ? unit : std::floor(unit * encoding_.choices()[j]));
        }
      }
      Config config = encoding_.Decoded(point, rng);
      if (space_.Forbidden(config) || history.configs.contains(ConfigHash(config))) continue;
      const nlohmann::json detail = {{"sampler", kVersion}, {"index", index}};
      return {std::move(config), Origin::Source::kRandom, -1, detail.dump()};
    }
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", "no_new_point"}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

 private:
  const Space& space_;
  const uint64_t seed_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
};

}  // namespace

uint32_t SobolBits(uint32_t index, int dimension) {
  RUNG_CHECK(dimension >= 0 && dimension < kSobolDimensions, "a dimension of the table");
  uint32_t bits = 0;
  for (size_t i = 0; index != 0; ++i, index >>= 1) {
    if ((index & 1U) != 0) bits ^= kDirections[static_cast<size_t>(dimension)][i];
  }
  return bits;
}

double ScrambledSobol(uint32_t index, int dimension, uint64_t seed) {
  const auto set = static_cast<uint64_t>(dimension / kSobolDimensions);
  const auto word = [&](uint64_t stream) { return static_cast<uint32_t>(Rng(seed, stream).Next()); };
  const uint32_t place = set == 0 ? index : Scrambled(index, word(set));
  const uint32_t bits = SobolBits(place, dimension % kSobolDimensions);
  return Scrambled(bits, word((uint64_t{1} << 32) + static_cast<uint64_t>(dimension))) * 0x1p-32;
}

std::unique_ptr<Sampler> MakeSobolSampler(const Space& space, int64_t seed) {
  return std::make_unique<SobolSampler>(space, seed);
}

}  // namespace rung
