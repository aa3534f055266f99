#include "search/samplers/sampler.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

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

void RememberFits(const std::string& detail_json, History& history) {
  if (detail_json.find("\"fits\"") == std::string::npos) return;
  const nlohmann::json detail = nlohmann::json::parse(detail_json, nullptr, false);
  if (!detail.is_object() || !detail.contains("fits")) return;
  for (const auto& [model, fit] : detail["fits"].items()) {
    history.fits[model] = {fit.at("results").get<int64_t>(), fit.at("parameters").get<std::vector<double>>()};
  }
}

void RememberClimb(const std::string& detail_json, TrialId trial, History& history) {
  if (detail_json.find("\"climbs\"") == std::string::npos) return;
  const nlohmann::json detail = nlohmann::json::parse(detail_json, nullptr, false);
  if (!detail.is_object() || !detail.contains("climbs")) return;
  for (const nlohmann::json& dropped : detail.at("dropped"))
    std::erase(history.climbing, TrialId{dropped.get<int64_t>()});
  const bool known =
      std::find(history.climbing.begin(), history.climbing.end(), trial) != history.climbing.end();
  if (!known) history.climbing.push_back(trial);
}

std::unique_ptr<Sampler> MakeSampler(const StudySpec& spec) {
  const Space& space = spec.space;
  switch (spec.algorithm.type) {
    case AlgorithmType::kAuto:
    case AlgorithmType::kGp:
      return MakeGpSampler(space, spec.algorithm);
    case AlgorithmType::kBohb:
      return MakeBohbSampler(space, spec.algorithm);
    case AlgorithmType::kSmac:
      return MakeSmacSampler(space, spec.algorithm);
    case AlgorithmType::kTpe:
      return MakeTpeSampler(space);
    case AlgorithmType::kDehb:
      return MakeDehbSampler(space);
    case AlgorithmType::kPriorBand:
      return MakePriorBandSampler(space, spec.budget.eta);
    case AlgorithmType::kSobol:
      return MakeSobolSampler(space, spec.seed);
    case AlgorithmType::kGrid:
      return MakeGridSampler(space, spec.algorithm.levels);
    case AlgorithmType::kHyperband:
    case AlgorithmType::kRandom:
      break;
  }
  return MakeRandomSampler(space);
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
