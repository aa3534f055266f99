#include "search/study_spec.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "search/brackets/hyperband.h"
#include "search/json_position.h"
#include "search/json_reader.h"

namespace rung {
namespace {

constexpr int kMaxRungs = 24;
constexpr double kMaxBracketTrials = 1e6;
constexpr int kMaxReplicates = 1000;
constexpr size_t kMaxEnqueued = 10000;

absl::Status SpecError(const char* code, const std::string& message, const std::string& where,
                       const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {code, message, where, value, mend});
}

template <typename Enum>
void Assign(Enum& target, const std::optional<int>& index) {
  if (index.has_value()) target = static_cast<Enum>(*index);
}

template <typename T>
void Assign(T& target, const std::optional<T>& value) {
  if (value.has_value()) target = *value;
}

}  // namespace

// Reads the parsed document into a StudySpec; errors say where as JSON pointers, Parse turns them into
// positions.
class StudySpecParser {
 public:
  StudySpecParser(const nlohmann::json& document, std::string file, std::string base_directory)
      : document_(document), file_(std::move(file)), base_directory_(std::move(base_directory)) {}

  absl::StatusOr<StudySpec> Run();

 private:
  using Status = absl::Status;

  Status ReadHead(const JsonReader& reader);
  Status ReadTrainer(const JsonReader& reader);
  Status MakeAbsolute(const JsonReader& trainer, const std::string& key);
  Status ReadObjective(const JsonReader& reader);
  Status ReadBudget(const JsonReader& reader);
  Status ReadAlgorithm(const JsonReader& reader);
  Status ReadSpace(const JsonReader& reader);
  Status ReadStop(const JsonReader& reader);
  Status ReadEnqueue(const JsonReader& reader);
  Status CheckWhole(const JsonReader& reader) const;

  const nlohmann::json& document_;
  const std::string file_;
  const std::string base_directory_;
  StudySpec spec_;
};

absl::StatusOr<StudySpec> StudySpec::Parse(const std::string& text, const std::string& where,
                                           const std::string& base_directory) {
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonText(text, where, kMaxFileBytes));
  absl::StatusOr<StudySpec> spec = StudySpecParser(document, where, base_directory).Run();
  if (!spec.ok()) return Located(spec.status(), text, where);
  return spec;
}

absl::StatusOr<StudySpec> StudySpecParser::Run() {
  RUNG_ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::Open(document_, "", "", kStudyCodes));
  RUNG_RETURN_IF_ERROR(reader.OnlyKeys({"name", "description", "trainer", "objective", "budget", "algorithm",
                                        "space", "stop", "enqueue", "seed"}));
  RUNG_RETURN_IF_ERROR(ReadHead(reader));
  RUNG_RETURN_IF_ERROR(ReadTrainer(reader));
  RUNG_RETURN_IF_ERROR(ReadObjective(reader));
  RUNG_RETURN_IF_ERROR(ReadSpace(reader));
  RUNG_RETURN_IF_ERROR(ReadAlgorithm(reader));
  RUNG_RETURN_IF_ERROR(ReadBudget(reader));
  RUNG_RETURN_IF_ERROR(ReadStop(reader));
  RUNG_RETURN_IF_ERROR(ReadEnqueue(reader));
  RUNG_RETURN_IF_ERROR(CheckWhole(reader));
  return std::move(spec_);
}

absl::Status StudySpecParser::ReadHead(const JsonReader& reader) {
  RUNG_RETURN_IF_ERROR(reader.Required("name", "\"name\": \"my-study\"").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> name, reader.String("name"));
  if (!IsValidName(*name)) {
    return SpecError("E0309", absl::StrFormat("name = \"%s\" cannot be a study's name", *name), "#/name",
                     *name,
                     "Use 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first");
  }
  spec_.name = *name;
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> description, reader.String("description"));
  Assign(spec_.description, description);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> seed, reader.Integer("seed"));
  Assign(spec_.seed, seed);
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadTrainer(const JsonReader& reader) {
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json* json,
                        reader.Required("trainer", "\"trainer\": {\"type\": \"text_classification\", ...}"));
  RUNG_ASSIGN_OR_RETURN(const JsonReader trainer,
                        JsonReader::Open(*json, "trainer", "/trainer", kStudyCodes));
  RUNG_RETURN_IF_ERROR(trainer.Required("type", "\"type\": \"text_classification\"").status());
  RUNG_RETURN_IF_ERROR(trainer.OneOf("type", {"text_classification", "command"}).status());
  spec_.trainer = *json;
  for (const char* key : {"train", "validation", "test", "cwd", "data"}) {
    RUNG_RETURN_IF_ERROR(MakeAbsolute(trainer, key));
  }
  const nlohmann::json* validation = trainer.Find("validation");
  if (validation == nullptr || !validation->is_object()) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader folds, JsonReader::Open(*validation, "trainer.validation",
                                                                 "/trainer/validation", kStudyCodes));
  RUNG_RETURN_IF_ERROR(folds.OnlyKeys({"folds"}));
  RUNG_RETURN_IF_ERROR(folds.Required("folds", "\"folds\": 5").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> count, folds.Integer("folds"));
  if (*count < 2 || *count > kMaxReplicates) {
    return folds.Impossible("folds", absl::StrFormat("must be between 2 and %d", kMaxReplicates),
                            "Use folds: 5");
  }
  return absl::OkStatus();
}

absl::Status StudySpecParser::MakeAbsolute(const JsonReader& trainer, const std::string& key) {
  const nlohmann::json* value = trainer.Find(key);
  if (value == nullptr) return absl::OkStatus();
  const auto absolute = [&](const nlohmann::json& path) -> nlohmann::json {
    if (!path.is_string()) return path;
    const std::string text = path.get<std::string>();
    return text.empty() ? path : nlohmann::json(AbsolutePath(text, base_directory_));
  };
  if (value->is_array()) {
    for (nlohmann::json& path : spec_.trainer[key]) path = absolute(path);
  } else {
    spec_.trainer[key] = absolute(*value);
  }
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadObjective(const JsonReader& reader) {
  spec_.objective.seeds = {spec_.seed};
  const nlohmann::json* json = reader.Find("objective");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader objective,
                        JsonReader::Open(*json, "objective", "/objective", kStudyCodes));
  RUNG_RETURN_IF_ERROR(objective.OnlyKeys({"metric", "goal", "seeds", "aggregate", "report"}));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> metric, objective.String("metric"));
  if (metric.has_value() && metric->empty()) {
    return objective.Impossible("metric", "names nothing", "Use validation/accuracy");
  }
  // Nobody guesses a direction: a loss that is maximised wastes a whole study.
  if (metric.has_value()) RUNG_RETURN_IF_ERROR(objective.Required("goal", "\"goal\": \"maximize\"").status());
  Assign(spec_.objective.metric, metric);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> goal, objective.OneOf("goal", {"maximize", "minimize"}));
  Assign(spec_.objective.goal, goal);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> aggregate,
                        objective.OneOf("aggregate", {"mean", "median", "min"}));
  Assign(spec_.objective.aggregate, aggregate);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> report, objective.OneOf("report", {"last", "best"}));
  Assign(spec_.objective.report, report);
  const nlohmann::json* seeds = objective.Find("seeds");
  if (seeds == nullptr) return absl::OkStatus();
  const bool integers = seeds->is_array() && !seeds->empty() &&
                        std::all_of(seeds->begin(), seeds->end(), [](const nlohmann::json& seed) {
                          return seed.is_number_integer() &&
                                 (!seed.is_number_unsigned() || seed.get<uint64_t>() < (uint64_t{1} << 63));
                        });
  if (!integers) return objective.WrongType("seeds", "a list of integers");
  spec_.objective.seeds = seeds->get<std::vector<int64_t>>();
  const std::set<int64_t> distinct(spec_.objective.seeds.begin(), spec_.objective.seeds.end());
  if (distinct.size() != seeds->size())
    return objective.Impossible("seeds", "has a seed twice", "Use distinct seeds");
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadSpace(const JsonReader& reader) {
  RUNG_ASSIGN_OR_RETURN(
      const nlohmann::json* json,
      reader.Required("space", "\"space\": {\"learning_rate\": {\"low\": 1e-5, \"high\": 1e-3}}"));
  if (!json->is_string()) {
    absl::StatusOr<Space> space = Space::Parse(*json);
    if (!space.ok()) return WithPointerPrefix(space.status(), "/space");
    spec_.space = *std::move(space);
    return absl::OkStatus();
  }
  const std::string path = json->get<std::string>();
  const absl::StatusOr<std::string> text =
      ReadFile(AbsolutePath(path, base_directory_), StudySpec::kMaxFileBytes);
  if (!text.ok()) {
    return MakeError(text.status().code(), {"E0310", absl::StrFormat("cannot read the space %s", path),
                                            "#/space", path, "Give a path relative to the study file"});
  }
  // Errors name the space's own file, as it would be typed from where the study was.
  const size_t slash = file_.rfind('/');
  const bool beside = path.front() != '/' && slash != std::string::npos;
  const std::string file = beside ? file_.substr(0, slash + 1) + path : path;
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json parsed, ParseJsonText(*text, file, StudySpec::kMaxFileBytes));
  absl::StatusOr<Space> space = Space::Parse(parsed);
  if (!space.ok()) return Located(space.status(), *text, file);
  spec_.space = *std::move(space);
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadAlgorithm(const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("algorithm");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader algorithm,
                        JsonReader::Open(*json, "algorithm", "/algorithm", kStudyCodes));
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> type,
                        algorithm.OneOf("type", {"bohb", "hyperband", "random", "grid"}));
  Algorithm& out = spec_.algorithm;
  Assign(out.type, type);
  std::vector<std::string> keys = {"type"};
  const bool brackets = out.type == AlgorithmType::kBohb || out.type == AlgorithmType::kHyperband;
  if (brackets) keys.insert(keys.end(), {"plan", "refill"});
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
  if (min_points.has_value() && (*min_points <= spec_.space.Dimension() || *min_points > 1000000)) {
    return algorithm.Impossible(
        "min_points",
        absl::StrFormat("must be above the %d parameters of the space", spec_.space.Dimension()),
        absl::StrFormat("Use %d or more", spec_.space.Dimension() + 1));
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
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadBudget(const JsonReader& reader) {
  RUNG_ASSIGN_OR_RETURN(
      const nlohmann::json* json,
      reader.Required("budget", "\"budget\": {\"unit\": \"epochs\", \"min\": 1, \"max\": 9}"));
  RUNG_ASSIGN_OR_RETURN(const JsonReader budget, JsonReader::Open(*json, "budget", "/budget", kStudyCodes));
  RUNG_RETURN_IF_ERROR(budget.OnlyKeys({"unit", "min", "max", "eta", "on_promotion"}));
  Budget& out = spec_.budget;
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> unit, budget.OneOf("unit", {"epochs", "steps", "samples"}));
  Assign(out.unit, unit);
  RUNG_ASSIGN_OR_RETURN(const std::optional<int> on_promotion,
                        budget.OneOf("on_promotion", {"resume", "restart"}));
  Assign(out.on_promotion, on_promotion);
  const bool rungs =
      spec_.algorithm.type == AlgorithmType::kBohb || spec_.algorithm.type == AlgorithmType::kHyperband;
  RUNG_RETURN_IF_ERROR(budget.Required("max", "\"max\": 9").status());
  if (rungs) RUNG_RETURN_IF_ERROR(budget.Required("min", "\"min\": 1").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> max, budget.Number("max"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> min, budget.Number("min"));
  out.max = *max;
  out.min = min.value_or(out.max);
  RUNG_ASSIGN_OR_RETURN(const std::optional<double> eta, budget.Number("eta"));
  Assign(out.eta, eta);
  if (!(out.max >= 0)) return budget.Impossible("max", "is negative", "Use a budget above 0");
  if (out.max > 1e15) return budget.Impossible("max", "is too large", "Use a budget up to 1e15");
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
  if (!rungs) return absl::OkStatus();
  const int count = RungCount(out.min, out.max, out.eta);
  if (count > kMaxRungs || std::pow(out.eta, count - 1) * count > kMaxBracketTrials) {
    return budget.Impossible("min", absl::StrFormat("makes %d rungs: its first bracket is too large", count),
                             "Use a larger min or another eta");
  }
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadStop(const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("stop");
  if (json == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const JsonReader stop, JsonReader::Open(*json, "stop", "/stop", kStudyCodes));
  RUNG_RETURN_IF_ERROR(stop.OnlyKeys({"brackets", "gpu_hours", "wall_time", "trials", "target"}));
  constexpr int64_t kMost = 1000000000;
  for (const char* key : {"brackets", "trials"}) {
    RUNG_ASSIGN_OR_RETURN(const std::optional<int64_t> count, stop.Integer(key));
    if (!count.has_value()) continue;
    if (*count < 1 || *count > kMost) return stop.Impossible(key, "must be from 1 to 1e9", "Use 1 or more");
    (key == std::string("brackets") ? spec_.stop.brackets : spec_.stop.trials) = static_cast<int>(*count);
  }
  RUNG_ASSIGN_OR_RETURN(spec_.stop.gpu_hours, stop.Number("gpu_hours"));
  if (spec_.stop.gpu_hours.has_value() && !(*spec_.stop.gpu_hours > 0)) {
    return stop.Impossible("gpu_hours", "must be above 0", "Use for example 100");
  }
  RUNG_ASSIGN_OR_RETURN(spec_.stop.target, stop.Number("target"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> wall_time, stop.String("wall_time"));
  if (!wall_time.has_value()) return absl::OkStatus();
  absl::Duration duration;
  if (!absl::ParseDuration(*wall_time, &duration) || duration <= absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return stop.Impossible("wall_time", "is no duration", "Write for example \"10h\" or \"1h30m\"");
  }
  spec_.stop.wall_time = duration;
  return absl::OkStatus();
}

absl::Status StudySpecParser::ReadEnqueue(const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("enqueue");
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_array()) return reader.WrongType("enqueue", "a list");
  if (json->size() > kMaxEnqueued) {
    return SpecError("E0307",
                     absl::StrFormat("enqueue has %d configs; %d are allowed", json->size(), kMaxEnqueued),
                     "#/enqueue", "", "Shorten the list");
  }
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string pointer = "/enqueue/" + std::to_string(i);
    RUNG_ASSIGN_OR_RETURN(
        const JsonReader entry,
        JsonReader::Open((*json)[i], absl::StrFormat("enqueue[%d]", i), pointer, kStudyCodes));
    RUNG_RETURN_IF_ERROR(entry.OnlyKeys({"config", "to"}));
    RUNG_ASSIGN_OR_RETURN(const nlohmann::json* config, entry.Required("config", "\"config\": \"default\""));
    Enqueued enqueued;
    if (config->is_string()) {
      if (*config != "default")
        return entry.Impossible("config", "is not known", "Use \"default\" or an object");
      enqueued.config = spec_.space.Default();
    } else {
      absl::StatusOr<Config> given = ConfigFromJson(*config);
      if (!given.ok()) return WithPointerPrefix(given.status(), pointer + "/config");
      enqueued.config = spec_.space.Typed(*std::move(given));
      const absl::Status valid = spec_.space.Validate(enqueued.config);
      if (!valid.ok()) return WithPointerPrefix(valid, pointer + "/config");
    }
    RUNG_ASSIGN_OR_RETURN(const std::optional<int> to, entry.OneOf("to", {"max"}));
    enqueued.to_max = to.has_value();
    spec_.enqueue.push_back(std::move(enqueued));
  }
  return absl::OkStatus();
}

absl::Status StudySpecParser::CheckWhole(const JsonReader& reader) const {
  if (spec_.Folds() * static_cast<int64_t>(spec_.objective.seeds.size()) > kMaxReplicates) {
    return SpecError("E0307",
                     absl::StrFormat("%d seeds times %d folds are too many runs per config",
                                     spec_.objective.seeds.size(), spec_.Folds()),
                     "#/objective", "", absl::StrFormat("Stay within %d", kMaxReplicates));
  }
  const bool ladder =
      spec_.algorithm.type == AlgorithmType::kBohb || spec_.algorithm.type == AlgorithmType::kHyperband;
  if (ladder) return absl::OkStatus();
  if (spec_.stop.brackets.has_value()) {
    return SpecError("E0307",
                     absl::StrFormat("stop.brackets means nothing to %s search", Name(spec_.algorithm.type)),
                     "#/stop/brackets", "", "Use stop.trials");
  }
  if (spec_.algorithm.type == AlgorithmType::kGrid) {
    const size_t size = spec_.space.Grid(spec_.algorithm.levels, Space::kMaxGrid + 1).size();
    if (size <= Space::kMaxGrid) return absl::OkStatus();
    return SpecError("E0311", absl::StrFormat("the grid has more than %d configs", Space::kMaxGrid),
                     "#/space", "", "Use fewer values, a step, or random search");
  }
  const StopRule& stop = spec_.stop;
  if (stop.trials.has_value() || stop.gpu_hours.has_value() || stop.wall_time.has_value() ||
      stop.target.has_value()) {
    return absl::OkStatus();
  }
  return SpecError("E0312", "random search without a stop rule never ends",
                   reader.Find("stop") == nullptr ? "#/algorithm" : "#/stop", "",
                   "Add \"stop\": {\"trials\": 50}");
}

bool IsValidName(const std::string& name) {
  const auto alphanumeric = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 64 || !alphanumeric(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

int StudySpec::Folds() const {
  const auto validation = trainer.find("validation");
  if (validation == trainer.end() || !validation->is_object()) return 1;
  return validation->value("folds", 1);
}

std::optional<int> StudySpec::FoldOf(int replicate) const {
  if (Folds() == 1) return std::nullopt;
  return replicate % Folds();
}

std::vector<double> StudySpec::RungBudgets() const {
  if (algorithm.type == AlgorithmType::kRandom || algorithm.type == AlgorithmType::kGrid) return {budget.max};
  return rung::RungBudgets(budget.min, budget.max, budget.eta);
}

namespace {

nlohmann::json AlgorithmJson(const Algorithm& algorithm) {
  nlohmann::json json = {{"type", Name(algorithm.type)}};
  if (algorithm.type == AlgorithmType::kBohb || algorithm.type == AlgorithmType::kHyperband) {
    json["plan"] = algorithm.ceil_plan ? "ceil" : "floor";
    json["refill"] = algorithm.refill;
  }
  if (algorithm.type == AlgorithmType::kGrid) json["levels"] = algorithm.levels;
  if (algorithm.type != AlgorithmType::kBohb) return json;
  json["random_fraction"] = algorithm.random_fraction;
  json["top_percent"] = algorithm.top_percent;
  json["candidates"] = algorithm.candidates;
  json["bandwidth_factor"] = algorithm.bandwidth_factor;
  json["min_bandwidth"] = algorithm.min_bandwidth;
  if (algorithm.min_points != 0) json["min_points"] = algorithm.min_points;
  json["categorical_bandwidth"] = algorithm.original_categorical_bandwidth ? "original" : "repaired";
  json["ordinals"] = algorithm.ordinals_as_categorical ? "categorical" : "numeric";
  return json;
}

nlohmann::json StopJson(const StopRule& stop) {
  nlohmann::json json = nlohmann::json::object();
  if (stop.brackets.has_value()) json["brackets"] = *stop.brackets;
  if (stop.gpu_hours.has_value()) json["gpu_hours"] = *stop.gpu_hours;
  if (stop.wall_time.has_value()) json["wall_time"] = absl::FormatDuration(*stop.wall_time);
  if (stop.trials.has_value()) json["trials"] = *stop.trials;
  if (stop.target.has_value()) json["target"] = *stop.target;
  return json;
}

nlohmann::json SpecJson(const StudySpec& spec) {
  nlohmann::json json;
  json["name"] = spec.name;
  json["description"] = spec.description;
  json["trainer"] = spec.trainer;
  json["objective"] = {{"metric", spec.objective.metric},
                       {"goal", Name(spec.objective.goal)},
                       {"seeds", spec.objective.seeds},
                       {"aggregate", Name(spec.objective.aggregate)},
                       {"report", Name(spec.objective.report)}};
  json["budget"] = {{"unit", Name(spec.budget.unit)},
                    {"min", spec.budget.min},
                    {"max", spec.budget.max},
                    {"eta", spec.budget.eta},
                    {"on_promotion", Name(spec.budget.on_promotion)}};
  json["algorithm"] = AlgorithmJson(spec.algorithm);
  json["space"] = spec.space.ToJson();
  json["stop"] = StopJson(spec.stop);
  json["enqueue"] = nlohmann::json::array();
  for (const Enqueued& enqueued : spec.enqueue) {
    nlohmann::json entry = {{"config", ToJson(enqueued.config)}};
    if (enqueued.to_max) entry["to"] = "max";
    json["enqueue"].push_back(std::move(entry));
  }
  json["seed"] = spec.seed;
  return json;
}

}  // namespace

std::string StudySpec::CanonicalJson() const {
  return SpecJson(*this).dump();
}

std::string StudySpec::ContentSha256() const {
  nlohmann::json json = SpecJson(*this);
  for (const char* key : {"name", "description", "stop"}) json.erase(key);
  return Sha256Hex(json.dump());
}

}  // namespace rung
