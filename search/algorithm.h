// "algorithm" of a study file: which sampler proposes configs, which scheduler lets them climb, and their
// numbers. A value; thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "search/space.h"

namespace rung {

// kAuto: what Rung thinks best: one Gaussian process says what to try and how far (search/auto_policy.h).
enum class AlgorithmType {
  kAuto,
  kBohb,
  kGp,
  kSmac,
  kTpe,
  kDehb,
  kPriorBand,
  kHyperband,
  kSobol,
  kRandom,
  kGrid
};
enum class SchedulerType {
  kHyperband,
  kSuccessiveHalving,
  kAsha,
  kAsyncHyperband,
  kPasha,
  kMedianStop,
  kNone,  // every config trains at budget.max at once
  kAuto,  // of type auto alone, where no other is said: nobody writes it
};

// The defaults are the measured improvements (docs/design.md, "Search").
struct Algorithm {
  AlgorithmType type = AlgorithmType::kAuto;
  double random_fraction = 0.1;  // bohb: 1/3
  double top_percent = 15;
  int candidates = 64;
  double bandwidth_factor = 3;
  double min_bandwidth = 1e-3;
  int min_points = 0;                           // 0: d + 1
  bool original_categorical_bandwidth = false;  // categorical_bandwidth: repaired | original
  bool ordinals_as_categorical = false;         // ordinals: numeric | categorical
  int levels = 5;                               // grid: values per continuous parameter

  SchedulerType scheduler = SchedulerType::kHyperband;
  bool ceil_plan = false;  // plan: floor | ceil
  bool refill = false;     // fresh configs when survivors are too few
  int configs = 0;         // of a bracket of successive_halving; 0: eta^(rungs-1)
  bool stopping = false;   // variant: promotion | stopping
  int min_results = 5;     // median_stop: others at the rung before anybody is stopped

  // Configs climb rungs; else each trains at budget.max at once.
  bool Climbs() const { return scheduler != SchedulerType::kNone; }
  // Trials start as long as workers ask; else in brackets of a planned size.
  bool Endless() const {
    return scheduler != SchedulerType::kHyperband && scheduler != SchedulerType::kSuccessiveHalving;
  }
  // Brackets that are run where no stop rule says how many.
  int FullSet(int rungs) const;

  // `json` is the object. Errors: InvalidArgument (E03xx) with where = "#/algorithm/KEY".
  static absl::StatusOr<Algorithm> Parse(const nlohmann::json& json, const Space& space);
  // Every key that its type knows, defaults filled in.
  nlohmann::json ToJson() const;
};

const char* Name(AlgorithmType);
const char* Name(SchedulerType);

}  // namespace rung
