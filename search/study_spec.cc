#include "search/study_spec.h"

#include <algorithm>
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

constexpr int kMaxReplicates = 1000;
constexpr size_t kMaxEnqueued = 10000;

absl::Status SpecError(const char* code, const std::string& message, const std::string& where,
                       const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {code, message, where, value, mend});
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
  Status ReadSpace(const JsonReader& reader);
  Status ReadSearch(const JsonReader& reader);
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
  RUNG_RETURN_IF_ERROR(ReadSearch(reader));
  RUNG_RETURN_IF_ERROR(ReadEnqueue(reader));
  RUNG_RETURN_IF_ERROR(CheckWhole(reader));
  return std::move(spec_);
}

absl::Status StudySpecParser::ReadHead(const JsonReader& reader) {
  RUNG_RETURN_IF_ERROR(reader.Required("name", "\"name\": \"my-study\"").status());
  RUNG_ASSIGN_OR_RETURN(const std::optional<std::string> name, reader.String("name"));
  if (!IsValidName(*name)) {
    return SpecError("E0309", absl::StrFormat("name = \"%s\" cannot be a study's name", Shortened(*name)),
                     "#/name", Shortened(*name),
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
  if (metric.has_value()) {
    const bool lower =
        metric->find("loss") != std::string::npos || metric->find("error") != std::string::npos;
    const std::string example = absl::StrFormat("\"goal\": \"%s\"", lower ? "minimize" : "maximize");
    RUNG_RETURN_IF_ERROR(objective.Required("goal", example).status());
  }
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
  if (!integers) return objective.WrongType("seeds", "a list of one integer or more, like [1, 2, 3]");
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
    return MakeError(text.status().code(),
                     {"E0310", absl::StrFormat("cannot read the space %s", Shortened(path)), "#/space",
                      Shortened(path), "Give a path relative to the study file"});
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

// How to search, what a config may cost and when it ends.
absl::Status StudySpecParser::ReadSearch(const JsonReader& reader) {
  const nlohmann::json nothing = nlohmann::json::object();
  const nlohmann::json* algorithm = reader.Find("algorithm");
  RUNG_ASSIGN_OR_RETURN(spec_.algorithm,
                        Algorithm::Parse(algorithm != nullptr ? *algorithm : nothing, spec_.space));
  RUNG_ASSIGN_OR_RETURN(
      const nlohmann::json* budget,
      reader.Required("budget", "\"budget\": {\"unit\": \"epochs\", \"min\": 1, \"max\": 9}"));
  RUNG_ASSIGN_OR_RETURN(spec_.budget, Budget::Parse(*budget, spec_.algorithm.Climbs()));
  if (const nlohmann::json* json = reader.Find("stop")) {
    RUNG_ASSIGN_OR_RETURN(spec_.stop, StopRule::Parse(*json));
  }
  return absl::OkStatus();
}

// {"learning_rate": 1e-3} where {"config": {"learning_rate": 1e-3}} is meant.
bool IsBareConfig(const nlohmann::json& entry, const Space& space) {
  if (entry.contains("config")) return false;
  for (auto item = entry.begin(); item != entry.end(); ++item) {
    if (space.Find(item.key()) != nullptr) return true;
  }
  return false;
}

absl::Status StudySpecParser::ReadEnqueue(const JsonReader& reader) {
  const nlohmann::json* json = reader.Find("enqueue");
  if (json == nullptr) return absl::OkStatus();
  if (!json->is_array())
    return reader.WrongType("enqueue", "a list like [{\"config\": \"default\", \"to\": \"max\"}]");
  if (json->size() > kMaxEnqueued) {
    return SpecError("E0307",
                     absl::StrFormat("enqueue has %d configs; %d are allowed", json->size(), kMaxEnqueued),
                     "#/enqueue", "", "Shorten the list");
  }
  for (size_t i = 0; i < json->size(); ++i) {
    const std::string pointer = "/enqueue/" + std::to_string(i);
    if ((*json)[i] == "default") {
      spec_.enqueue.push_back({spec_.space.Default(), false});
      continue;
    }
    const std::string path = absl::StrFormat("enqueue[%d]", i);
    if (!(*json)[i].is_object() || IsBareConfig((*json)[i], spec_.space)) {
      return SpecError("E0306", absl::StrFormat("%s = %s is no config", path, Shown((*json)[i])),
                       "#" + pointer, Shown((*json)[i]),
                       "Write \"default\", or {\"config\": {name: value, ...}, \"to\": \"max\"}");
    }
    RUNG_ASSIGN_OR_RETURN(const JsonReader entry, JsonReader::Open((*json)[i], path, pointer, kStudyCodes));
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
  const Algorithm& algorithm = spec_.algorithm;
  if (algorithm.type == AlgorithmType::kGrid) {
    const size_t configs = spec_.space.Grid(algorithm.levels, Space::kMaxGrid + 1).size();
    if (configs == 0) {
      return SpecError("E0311",
                       "no config of the grid is allowed, or too many forbidden ones stand before it",
                       "#/space", "", "Use conditions (\"if\") in place of forbidden, or random search");
    }
    if (configs > Space::kMaxGrid) {
      return SpecError("E0311", absl::StrFormat("the grid has more than %d configs", Space::kMaxGrid),
                       "#/space", "", "Use fewer values, a step, or random search");
    }
  }
  if (!algorithm.Endless() || algorithm.scheduler == SchedulerType::kAuto) return absl::OkStatus();
  const std::string what = algorithm.scheduler == SchedulerType::kNone
                               ? absl::StrFormat("%s search", Name(algorithm.type))
                               : Name(algorithm.scheduler);
  if (spec_.stop.brackets.has_value()) {
    return SpecError("E0307", absl::StrFormat("stop.brackets means nothing to %s", what), "#/stop/brackets",
                     "", "Use stop.trials");
  }
  if (algorithm.type == AlgorithmType::kGrid || spec_.stop.EndsWithoutBrackets()) return absl::OkStatus();
  return SpecError("E0312", what + " without a stop rule never ends",
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
  if (!algorithm.Climbs()) return {budget.max};
  return rung::RungBudgets(budget.min, budget.max, budget.eta);
}

namespace {

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
  json["budget"] = spec.budget.ToJson();
  json["algorithm"] = spec.algorithm.ToJson();
  json["space"] = spec.space.ToJson();
  json["stop"] = spec.stop.ToJson();
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

}  // namespace rung
