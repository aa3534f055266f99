// "algorithm" of a study file: which sampler proposes configs, and its numbers. A value; thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "search/space.h"

namespace rung {

enum class AlgorithmType { kBohb, kHyperband, kRandom, kGrid };

// The defaults are the measured improvements (docs/design.md, "Search").
struct Algorithm {
  AlgorithmType type = AlgorithmType::kBohb;
  double random_fraction = 1.0 / 3.0;
  double top_percent = 15;
  int candidates = 64;
  double bandwidth_factor = 3;
  double min_bandwidth = 1e-3;
  int min_points = 0;                           // 0: d + 1
  bool original_categorical_bandwidth = false;  // categorical_bandwidth: repaired | original
  bool ordinals_as_categorical = false;         // ordinals: numeric | categorical
  bool ceil_plan = false;                       // plan: floor | ceil
  bool refill = false;                          // fresh configs when survivors are too few
  int levels = 5;                               // grid: values per continuous parameter

  // Configs climb rungs in brackets; else each trains at budget.max at once.
  bool Climbs() const { return type == AlgorithmType::kBohb || type == AlgorithmType::kHyperband; }

  // `json` is the object. Errors: InvalidArgument (E03xx) with where = "#/algorithm/KEY".
  static absl::StatusOr<Algorithm> Parse(const nlohmann::json& json, const Space& space);
  // Every key that its type knows, defaults filled in.
  nlohmann::json ToJson() const;
};

const char* Name(AlgorithmType);

}  // namespace rung
