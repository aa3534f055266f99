#include "search/budget.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/brackets/hyperband.h"
#include "search/json_reader.h"
#include "search/trial.h"

namespace rung {
namespace {

constexpr int kMaxRungs = 24;
constexpr double kMaxBracketTrials = 1e6;

}  // namespace

absl::StatusOr<Budget> Budget::Parse(const nlohmann::json& json, bool climbs) {
  RUNG_ASSIGN_OR_RETURN(const JsonReader budget, JsonReader::Open(json, "budget", "/budget", kStudyCodes));
  RUNG_RETURN_IF_ERROR(budget.OnlyKeys({"unit", "min", "max", "eta", "on_promotion"}));
  Budget out;
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> unit, budget.OneOf("unit", {"epochs", "steps", "samples"}));
  Assign(out.unit, unit);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> on_promotion,
                        budget.OneOf("on_promotion", {"resume", "restart"}));
  Assign(out.on_promotion, on_promotion);
  RUNG_RETURN_IF_ERROR(budget.Required("max", "\"max\": 9").status());
  if (climbs) RUNG_RETURN_IF_ERROR(budget.Required("min", "\"min\": 1").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> max, budget.Number("max"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> min, budget.Number("min"));
  out.max = *max;
  out.min = min.value_or(out.max);
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> eta, budget.Number("eta"));
  Assign(out.eta, eta);
  if (!(out.max >= 0)) return budget.Impossible("max", "is negative", "Use a budget above 0");
  if (out.max > kMaxAmount) return budget.Impossible("max", "is too large", "Use a budget up to 1e15");
  if (!(out.min <= out.max)) {
    return budget.Impossible("min", absl::StrFormat("is above budget.max = %s", Shown(*budget.Find("max"))),
                             "Swap them");
  }
  if (!(out.min > 0) && out.max > 0) {
    return budget.Impossible("min", "must be above 0 (0 goes with max = 0 only: evaluate, train nothing)",
                             "Use min: 1");
  }
  if (!(out.eta >= 1.1 && out.eta <= 1e6))
    return budget.Impossible("eta", "must be at least 1.1", "Use eta: 3");
  if (!climbs) return out;
  const int count = RungCount(out.min, out.max, out.eta);
  if (count > kMaxRungs || std::pow(out.eta, count - 1) * count > kMaxBracketTrials) {
    return budget.Impossible("min", absl::StrFormat("makes %d rungs: its first bracket is too large", count),
                             "Use a larger min or another eta");
  }
  return out;
}

nlohmann::json Budget::ToJson() const {
  return {
      {"unit", Name(unit)}, {"min", min}, {"max", max}, {"eta", eta}, {"on_promotion", Name(on_promotion)}};
}

absl::StatusOr<StopRule> StopRule::Parse(const nlohmann::json& json) {
  RUNG_ASSIGN_OR_RETURN(const JsonReader stop, JsonReader::Open(json, "stop", "/stop", kStudyCodes));
  RUNG_RETURN_IF_ERROR(stop.OnlyKeys({"brackets", "gpu_hours", "wall_time", "trials", "target"}));
  StopRule out;
  for (const auto& [key, most] : {std::pair("brackets", 1000000), std::pair("trials", 10000000)}) {
    RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> count, stop.Integer(key));
    if (!count.has_value()) continue;
    if (*count < 1 || *count > most)
      return stop.Impossible(key, absl::StrFormat("must be from 1 to %d", most),
                             "Use 1 or more, or leave it out where another rule ends the search");
    (key == std::string("brackets") ? out.brackets : out.trials) = static_cast<int>(*count);
  }
  RUNG_ASSIGN_OR_RETURN(out.gpu_hours, stop.Number("gpu_hours"));
  if (out.gpu_hours.has_value() && !(*out.gpu_hours > 0)) {
    return stop.Impossible("gpu_hours", "must be above 0", "Use for example 100");
  }
  RUNG_ASSIGN_OR_RETURN(out.target, stop.Number("target"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> wall_time, stop.String("wall_time"));
  if (!wall_time.has_value()) return out;
  absl::Duration duration;
  if (!absl::ParseDuration(*wall_time, &duration) || duration <= absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return stop.Impossible("wall_time", "is no duration", "Write for example \"10h\" or \"1h30m\"");
  }
  out.wall_time = duration;
  return out;
}

nlohmann::json StopRule::ToJson() const {
  nlohmann::json json = nlohmann::json::object();
  if (brackets.has_value()) json["brackets"] = *brackets;
  if (gpu_hours.has_value()) json["gpu_hours"] = *gpu_hours;
  if (wall_time.has_value()) json["wall_time"] = absl::FormatDuration(*wall_time);
  if (trials.has_value()) json["trials"] = *trials;
  if (target.has_value()) json["target"] = *target;
  return json;
}

}  // namespace rung
