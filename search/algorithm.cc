#include "search/algorithm.h"

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/json_reader.h"

namespace rung {

absl::StatusOr<Algorithm> Algorithm::Parse(const nlohmann::json& json, const Space& space) {
  RUNG_ASSIGN_OR_RETURN(const JsonReader algorithm,
                        JsonReader::Open(json, "algorithm", "/algorithm", kStudyCodes));
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> type,
                        algorithm.OneOf("type", {"bohb", "hyperband", "random", "grid"}));
  Algorithm out;
  Assign(out.type, type);
  std::vector<std::string> keys = {"type"};
  if (out.Climbs()) keys.insert(keys.end(), {"plan", "refill"});
  if (out.type == AlgorithmType::kGrid) keys.push_back("levels");
  if (out.type == AlgorithmType::kBohb) {
    keys.insert(keys.end(), {"random_fraction", "top_percent", "candidates", "bandwidth_factor",
                             "min_bandwidth", "min_points", "categorical_bandwidth", "ordinals"});
  }
  RUNG_RETURN_IF_ERROR(algorithm.OnlyKeys(keys));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> random_fraction, algorithm.Number("random_fraction"));
  Assign(out.random_fraction, random_fraction);
  if (!(out.random_fraction >= 0 && out.random_fraction <= 1)) {
    return algorithm.Impossible("random_fraction", "is no share", "Use a number from 0 to 1");
  }
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> top_percent, algorithm.Number("top_percent"));
  Assign(out.top_percent, top_percent);
  if (!(out.top_percent > 0 && out.top_percent < 100)) {
    return algorithm.Impossible("top_percent", "is no percentage", "Use a number between 0 and 100");
  }
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> candidates, algorithm.Integer("candidates"));
  if (candidates.has_value() && (*candidates < 1 || *candidates > 100000)) {
    return algorithm.Impossible("candidates", "must be from 1 to 100000", "Use 64");
  }
  if (candidates.has_value()) out.candidates = static_cast<int>(*candidates);
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> factor, algorithm.Number("bandwidth_factor"));
  Assign(out.bandwidth_factor, factor);
  if (!(out.bandwidth_factor > 0))
    return algorithm.Impossible("bandwidth_factor", "must be above 0", "Use 3");
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> min_bandwidth, algorithm.Number("min_bandwidth"));
  Assign(out.min_bandwidth, min_bandwidth);
  if (!(out.min_bandwidth > 0)) return algorithm.Impossible("min_bandwidth", "must be above 0", "Use 1e-3");
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> min_points, algorithm.Integer("min_points"));
  if (min_points.has_value() && (*min_points <= space.Dimension() || *min_points > 1000000)) {
    return algorithm.Impossible(
        "min_points", absl::StrFormat("must be above the %d parameters of the space", space.Dimension()),
        absl::StrFormat("Use %d or more", space.Dimension() + 1));
  }
  if (min_points.has_value()) out.min_points = static_cast<int>(*min_points);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> bandwidth,
                        algorithm.OneOf("categorical_bandwidth", {"repaired", "original"}));
  out.original_categorical_bandwidth = bandwidth.value_or(0) == 1;
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> ordinals,
                        algorithm.OneOf("ordinals", {"numeric", "categorical"}));
  out.ordinals_as_categorical = ordinals.value_or(0) == 1;
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> plan, algorithm.OneOf("plan", {"floor", "ceil"}));
  out.ceil_plan = plan.value_or(0) == 1;
  RUNG_ASSIGN_OR_RETURN(const std::optional<bool> refill, algorithm.Bool("refill"));
  Assign(out.refill, refill);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> levels, algorithm.Integer("levels"));
  if (levels.has_value() && (*levels < 1 || *levels > 10000)) {
    return algorithm.Impossible("levels", "must be from 1 to 10000", "Use 5");
  }
  if (levels.has_value()) out.levels = static_cast<int>(*levels);
  return out;
}

nlohmann::json Algorithm::ToJson() const {
  nlohmann::json json = {{"type", Name(type)}};
  if (Climbs()) {
    json["plan"] = ceil_plan ? "ceil" : "floor";
    json["refill"] = refill;
  }
  if (type == AlgorithmType::kGrid) json["levels"] = levels;
  if (type != AlgorithmType::kBohb) return json;
  json["random_fraction"] = random_fraction;
  json["top_percent"] = top_percent;
  json["candidates"] = candidates;
  json["bandwidth_factor"] = bandwidth_factor;
  json["min_bandwidth"] = min_bandwidth;
  if (min_points != 0) json["min_points"] = min_points;
  json["categorical_bandwidth"] = original_categorical_bandwidth ? "original" : "repaired";
  json["ordinals"] = ordinals_as_categorical ? "categorical" : "numeric";
  return json;
}

}  // namespace rung
