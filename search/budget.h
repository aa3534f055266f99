// "budget" and "stop" of a study file: what one config may cost, and when the whole search ends. Values;
// thread-safe.
#pragma once

#include <optional>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rung {

enum class BudgetUnit { kEpochs, kSteps, kSamples };
enum class OnPromotion { kResume, kRestart };

struct Budget {
  BudgetUnit unit = BudgetUnit::kEpochs;
  double min = 1;
  double max = 1;
  double eta = 3;
  OnPromotion on_promotion = OnPromotion::kResume;

  // `climbs`: the algorithm has rungs, so min is needed. Errors: InvalidArgument (E03xx) with where =
  // "#/budget/KEY".
  static absl::StatusOr<Budget> Parse(const nlohmann::json& json, bool climbs);
  nlohmann::json ToJson() const;
};

struct StopRule {
  std::optional<int> brackets;
  std::optional<double> gpu_hours;          // sum of the device time of accepted attempts
  std::optional<absl::Duration> wall_time;  // active time, kept across restarts
  std::optional<int> trials;
  std::optional<double> target;

  // Some rule other than `brackets` ends the search.
  bool EndsWithoutBrackets() const {
    return trials.has_value() || gpu_hours.has_value() || wall_time.has_value() || target.has_value();
  }

  // Errors: InvalidArgument (E03xx) with where = "#/stop/KEY".
  static absl::StatusOr<StopRule> Parse(const nlohmann::json& json);
  nlohmann::json ToJson() const;
};

const char* Name(BudgetUnit);
const char* Name(OnPromotion);

}  // namespace rung
