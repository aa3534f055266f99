#include "search/samplers/sampler.h"

#include "base/check.h"

namespace rung {

uint64_t ConfigHash(const Config& config) {
  // FNV-1a, then the finaliser of splitmix64: std::hash differs between libraries.
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : CanonicalJson(config)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

std::unique_ptr<Sampler> MakeSampler(const StudySpec& spec) {
  switch (spec.algorithm.type) {
    case AlgorithmType::kBohb:
      return MakeBohbSampler(spec.space, spec.algorithm);
    case AlgorithmType::kGrid:
      return MakeGridSampler(spec.space, spec.algorithm.levels);
    case AlgorithmType::kHyperband:
    case AlgorithmType::kRandom:
      break;
  }
  return MakeRandomSampler(spec.space);
}

FreshConfigs::FreshConfigs(const Space& space) : space_(space) {
  if (!space.Finite()) return;
  all_ = space.Grid(1, kListed + 1);
  if (all_.size() > kListed) all_.clear();
}

Config FreshConfigs::Draw(const History& history, Rng& rng) const {
  Config config;
  for (int i = 0; i < kRedraws; ++i) {
    config = space_.Sample(rng);
    if (!history.configs.contains(ConfigHash(config))) return config;
  }
  std::vector<const Config*> unused;
  for (const Config& candidate : all_) {
    if (!history.configs.contains(ConfigHash(candidate))) unused.push_back(&candidate);
  }
  if (unused.empty()) return config;  // exhausted: a known one, whose result is copied
  return *unused[static_cast<size_t>(rng.Below(static_cast<int64_t>(unused.size())))];
}

}  // namespace rung
