#include "search/algorithm.h"

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "search/json_reader.h"

namespace rung {
namespace {

const std::vector<std::string> kTypes = {"auto",      "bohb",      "gp",    "smac",   "tpe", "dehb",
                                         "priorband", "hyperband", "sobol", "random", "grid"};
const std::vector<std::string> kSchedulers = {"hyperband", "successive_halving", "asha", "async_hyperband",
                                              "pasha",     "median_stop",        "none"};

SchedulerType DefaultScheduler(AlgorithmType type) {
  if (type == AlgorithmType::kAuto) return SchedulerType::kAuto;
  const bool at_once =
      type == AlgorithmType::kSobol || type == AlgorithmType::kRandom || type == AlgorithmType::kGrid;
  return at_once ? SchedulerType::kNone : SchedulerType::kHyperband;
}

std::vector<std::string> SamplerKeys(AlgorithmType type) {
  switch (type) {
    case AlgorithmType::kBohb:
      return {"random_fraction", "top_percent",           "candidates", "bandwidth_factor", "min_bandwidth",
              "min_points",      "categorical_bandwidth", "ordinals"};
    case AlgorithmType::kGp:
    case AlgorithmType::kSmac:
      return {"random_fraction"};
    case AlgorithmType::kGrid:
      return {"levels"};
    case AlgorithmType::kAuto:
    case AlgorithmType::kTpe:
    case AlgorithmType::kDehb:
    case AlgorithmType::kPriorBand:
    case AlgorithmType::kHyperband:
    case AlgorithmType::kSobol:
    case AlgorithmType::kRandom:
      break;
  }
  return {};
}

std::vector<std::string> SchedulerKeys(SchedulerType scheduler) {
  switch (scheduler) {
    case SchedulerType::kHyperband:
      return {"plan", "refill"};
    case SchedulerType::kSuccessiveHalving:
      return {"configs", "refill"};
    case SchedulerType::kAsha:
    case SchedulerType::kAsyncHyperband:
      return {"variant"};
    case SchedulerType::kMedianStop:
      return {"min_results"};
    case SchedulerType::kPasha:
    case SchedulerType::kNone:
    case SchedulerType::kAuto:
      break;
  }
  return {};
}

// An integer from `low` to `high`, or an error.
absl::Status ReadCount(const JsonReader& reader, const char* key, int64_t low, int64_t high, int usual,
                       int& out) {
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> count, reader.Integer(key));
  if (!count.has_value()) return absl::OkStatus();
  if (*count < low || *count > high) {
    return reader.Impossible(key, absl::StrFormat("must be from %d to %d", low, high),
                             absl::StrFormat("Use %d", usual));
  }
  out = static_cast<int>(*count);
  return absl::OkStatus();
}

absl::Status ReadSampler(const JsonReader& algorithm, const Space& space, Algorithm& out) {
  if (out.type == AlgorithmType::kBohb) out.random_fraction = 1.0 / 3.0;
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
  RUNG_RETURN_IF_ERROR(ReadCount(algorithm, "candidates", 1, 100000, 64, out.candidates));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> factor, algorithm.Number("bandwidth_factor"));
  Assign(out.bandwidth_factor, factor);
  if (!(out.bandwidth_factor > 0)) {
    return algorithm.Impossible("bandwidth_factor", "must be above 0", "Use 3");
  }
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
  return absl::OkStatus();
}

absl::Status ReadScheduler(const JsonReader& algorithm, Algorithm& out) {
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> plan, algorithm.OneOf("plan", {"floor", "ceil"}));
  out.ceil_plan = plan.value_or(0) == 1;
  RUNG_ASSIGN_OR_RETURN(const std::optional<bool> refill, algorithm.Bool("refill"));
  Assign(out.refill, refill);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> variant,
                        algorithm.OneOf("variant", {"promotion", "stopping"}));
  out.stopping = variant.value_or(0) == 1;
  RUNG_RETURN_IF_ERROR(ReadCount(algorithm, "configs", 1, 1000000, 27, out.configs));
  return ReadCount(algorithm, "min_results", 1, 1000000, 5, out.min_results);
}

}  // namespace

absl::StatusOr<Algorithm> Algorithm::Parse(const nlohmann::json& json, const Space& space) {
  if (json.is_string()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {kStudyCodes.wrong_type,
                      absl::StrFormat("algorithm = %s must be an object, not a string", Shown(json)),
                      "#/algorithm", Shown(json), absl::StrFormat("Write {\"type\": %s}", Shown(json))});
  }
  RUNG_ASSIGN_OR_RETURN(const JsonReader algorithm,
                        JsonReader::Open(json, "algorithm", "/algorithm", kStudyCodes));
  Algorithm out;
  const nlohmann::json* named = algorithm.Find("type");
  const auto is_named = [&](const std::string& name) { return named != nullptr && *named == name; };
  if (std::any_of(kSchedulers.begin(), kSchedulers.end(), is_named) &&
      std::none_of(kTypes.begin(), kTypes.end(), is_named)) {
    return algorithm.Impossible(
        "type", "is a scheduler",
        absl::StrFormat("Write {\"type\": \"random\", \"scheduler\": %s}, or another type", Shown(*named)));
  }
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> type, algorithm.OneOf("type", kTypes));
  out.type = AlgorithmType::kBohb;
  Assign(out.type, type);
  out.scheduler = DefaultScheduler(out.type);
  // Stored when auto was a Gaussian process in Hyperband's brackets: it goes on as it began.
  if (out.type == AlgorithmType::kAuto && algorithm.Find("plan") != nullptr)
    out.scheduler = SchedulerType::kHyperband;
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> scheduler, algorithm.OneOf("scheduler", kSchedulers));
  Assign(out.scheduler, scheduler);
  if (out.type == AlgorithmType::kHyperband && out.scheduler != SchedulerType::kHyperband) {
    return algorithm.Impossible("scheduler", "does not go with type hyperband, which is a scheduler itself",
                                "Use type: random");
  }
  std::vector<std::string> keys = {"type", "scheduler"};
  for (const std::string& key : SamplerKeys(out.type)) keys.push_back(key);
  for (const std::string& key : SchedulerKeys(out.scheduler)) keys.push_back(key);
  RUNG_RETURN_IF_ERROR(algorithm.OnlyKeys(keys));
  RUNG_RETURN_IF_ERROR(ReadSampler(algorithm, space, out));
  RUNG_RETURN_IF_ERROR(ReadCount(algorithm, "levels", 1, 10000, 5, out.levels));
  RUNG_RETURN_IF_ERROR(ReadScheduler(algorithm, out));
  return out;
}

int Algorithm::FullSet(int rungs) const {
  if (scheduler == SchedulerType::kAuto) return 2;  // brackets/auto_ladder.h
  const bool several = scheduler == SchedulerType::kHyperband || scheduler == SchedulerType::kAsyncHyperband;
  return several ? rungs : 1;
}

nlohmann::json Algorithm::ToJson() const {
  nlohmann::json json = {{"type", Name(type)}};
  if (type == AlgorithmType::kGrid) json["levels"] = levels;
  if (type == AlgorithmType::kGp || type == AlgorithmType::kSmac) json["random_fraction"] = random_fraction;
  if (type == AlgorithmType::kBohb) {
    json["random_fraction"] = random_fraction;
    json["top_percent"] = top_percent;
    json["candidates"] = candidates;
    json["bandwidth_factor"] = bandwidth_factor;
    json["min_bandwidth"] = min_bandwidth;
    if (min_points != 0) json["min_points"] = min_points;
    json["categorical_bandwidth"] = original_categorical_bandwidth ? "original" : "repaired";
    json["ordinals"] = ordinals_as_categorical ? "categorical" : "numeric";
  }
  // Unsaid where it is the type's own, or was once (auto's, which "plan" tells): the text of a stored study
  // does not change.
  const bool told_by_plan = type == AlgorithmType::kAuto && scheduler == SchedulerType::kHyperband;
  if (scheduler != DefaultScheduler(type) && !told_by_plan) json["scheduler"] = Name(scheduler);
  for (const std::string& key : SchedulerKeys(scheduler)) {
    if (key == "plan") json[key] = ceil_plan ? "ceil" : "floor";
    if (key == "refill") json[key] = refill;
    if (key == "configs" && configs != 0) json[key] = configs;
    if (key == "variant") json[key] = stopping ? "stopping" : "promotion";
    if (key == "min_results") json[key] = min_results;
  }
  return json;
}

}  // namespace rung
