#include "worker/text/trainer_options.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"
#include "worker/text/option_table.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int kMaxFolds = 1000;
constexpr int kMaxThreads = 256;
constexpr double kMaxClassWeight = 1e9;
constexpr int64_t kMaxDescriptionBytes = 1 << 20;

using Check = std::function<absl::Status(const json& value, const std::string& where)>;

// A key that stands in `trainer` itself.
struct TrainerKey {
  std::string name;
  json fallback;  // null: no default is filled in
  Check check;
};

Check IntegerCheck(int64_t low, int64_t high) {
  return [=](const json& value, const std::string& where) {
    const std::string mend = absl::StrFormat("Give an integer from %d to %d", low, high);
    if (!value.is_number_integer()) return OptionError("E0441", where, value, "is not an integer", mend);
    const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (huge || value.get<int64_t>() < low || value.get<int64_t>() > high)
      return OptionError("E0442", where, value, "is out of range", mend);
    return absl::OkStatus();
  };
}

absl::Status CheckText(const json& value, const std::string& where) {
  if (!value.is_string()) return OptionError("E0441", where, value, "is not a string", "Give a string");
  if (value.get_ref<const std::string&>().empty())
    return OptionError("E0442", where, value, "is empty", "Give a name or a path");
  return absl::OkStatus();
}

absl::Status CheckTexts(const json& value, const std::string& where) {
  const bool texts = value.is_array() &&
                     std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
  return texts ? absl::OkStatus()
               : OptionError("E0441", where, value, "is not a list of strings", "Give a list of strings");
}

absl::Status CheckBoolean(const json& value, const std::string& where) {
  return value.is_boolean() ? absl::OkStatus()
                            : OptionError("E0441", where, value, "is not a boolean", "Give true or false");
}

absl::Status CheckTextColumns(const json& value, const std::string& where) {
  if (value.is_string()) return CheckText(value, where);
  const bool pair = value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string() &&
                    value[0] != value[1];
  return pair ? absl::OkStatus()
              : OptionError("E0441", where, value, "is not a column name or a pair of two",
                            "Give \"sentence\", or [\"question\", \"passage\"] for sentence pairs");
}

absl::Status CheckLabelColumns(const json& value, const std::string& where) {
  if (value.is_string()) return CheckText(value, where);
  std::set<std::string> names;
  for (const json& name : value.is_array() ? value : json::array()) {
    if (name.is_string() && name != "") names.insert(name.get<std::string>());
  }
  return names.size() >= 2 && names.size() == value.size()
             ? absl::OkStatus()
             : OptionError("E0441", where, value, "is not a column name or a list of several",
                           "Give \"label\", or [\"anger\", \"joy\"] for columns of 0 and 1");
}

absl::Status CheckClassWeights(const json& value, const std::string& where) {
  const std::string mend = "Give \"balanced\", a list of a number for each label, or {\"LABEL\": 2.5}";
  if (value.is_string()) {
    return value == "balanced" ? absl::OkStatus()
                               : OptionError("E0442", where, value, "is not \"balanced\"", mend);
  }
  if (!value.is_array() && !value.is_object())
    return OptionError("E0441", where, value, "is neither \"balanced\" nor a list nor an object", mend);
  if (value.empty()) return OptionError("E0442", where, value, "is empty", mend);
  for (const auto& [key, weight] : value.items()) {
    const std::string place = where + "." + key;
    if (!weight.is_number()) return OptionError("E0441", place, weight, "is not a number", mend);
    if (!(weight.get<double>() > 0 && weight.get<double>() <= kMaxClassWeight))
      return OptionError("E0442", place, weight, "is out of range", "Give a number above 0, 1e9 at most");
  }
  return absl::OkStatus();
}

absl::Status CheckValidation(const json& value, const std::string& where) {
  const std::string mend = "Give a path, a share like 0.1, or {\"folds\": 5}";
  if (value.is_string()) return CheckText(value, where);
  if (value.is_number()) {
    const double share = value.get<double>();
    return share > 0 && share < 1 ? absl::OkStatus()
                                  : OptionError("E0442", where, value, "is no share between 0 and 1", mend);
  }
  if (value.is_object() && value.size() == 1 && value.contains("folds")) {
    return IntegerCheck(2, kMaxFolds)(value["folds"], where + ".folds");
  }
  return OptionError("E0441", where, value, "is neither a path nor a share nor folds", mend);
}

// Seconds as a number, or a duration like "5m".
std::optional<double> Seconds(const json& value) {
  if (value.is_number()) return value.get<double>();
  absl::Duration duration;
  if (!value.is_string() || !absl::ParseDuration(value.get<std::string>(), &duration)) return std::nullopt;
  return absl::ToDoubleSeconds(duration);
}

absl::Status CheckTimeLimit(const json& value, const std::string& where) {
  const std::string mend = "Give seconds, or a time like \"30m\"";
  const std::optional<double> seconds = Seconds(value);
  if (!seconds) return OptionError("E0441", where, value, "is no time", mend);
  return *seconds > 0 && std::isfinite(*seconds)
             ? absl::OkStatus()
             : OptionError("E0442", where, value, "is no time above 0", mend);
}

absl::Status CheckCheckpoints(const json& value, const std::string& where) {
  if (!value.is_object())
    return OptionError("E0441", where, value, "is not an object",
                       "Give {\"every\": \"5m\", \"keep_last\": 1}");
  const std::vector<std::string> keys = {"every", "keep_last"};
  for (const auto& [key, entry] : value.items()) {
    const std::string entry_where = where + "." + key;
    if (key == "every") {
      const std::optional<double> seconds = Seconds(entry);
      if (!seconds)
        return OptionError("E0441", entry_where, entry, "is no time", "Give seconds, or a time like \"5m\"");
      if (!(*seconds >= 0) || !std::isfinite(*seconds)) {
        return OptionError("E0442", entry_where, entry, "is out of range",
                           "Give 0 (rung ends only) or a time above it");
      }
    } else if (key == "keep_last") {
      RUNG_RETURN_IF_ERROR(IntegerCheck(1, 1000)(entry, entry_where));
    } else {
      const std::string close = ClosestName(key, keys);
      return OptionError("E0440", entry_where, entry, "is unknown",
                         close.empty() ? "The keys are " + absl::StrJoin(keys, ", ")
                                       : absl::StrFormat("Did you mean \"%s\"?", close));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEvaluateEvery(const json& value, const std::string& where) {
  const std::string mend = "Give whole training epochs (1), or 0 for rung ends only";
  if (!value.is_number()) return OptionError("E0441", where, value, "is not a number", mend);
  const double every = value.get<double>();
  return every >= 0 && every == std::floor(every) && every < 1e6
             ? absl::OkStatus()
             : OptionError("E0442", where, value, "is not a whole number", mend);
}

absl::Status CheckObject(const json& value, const std::string& where) {
  return value.is_object() ? absl::OkStatus()
                           : OptionError("E0441", where, value, "is not an object", "Give an object");
}

absl::Status CheckEnvironment(const json& value, const std::string& where) {
  const bool texts = value.is_object() &&
                     std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
  return texts ? absl::OkStatus()
               : OptionError("E0441", where, value, "is not an object of strings",
                             "Give {\"NAME\": \"value\"}");
}

absl::Status CheckArgv(const json& value, const std::string& where) {
  RUNG_RETURN_IF_ERROR(CheckTexts(value, where));
  return value.empty() || value[0] == ""
             ? OptionError("E0442", where, value, "names no program", "Give the program and its arguments")
             : absl::OkStatus();
}

// Of a data description, and of `trainer` where it has no `data`.
std::vector<TrainerKey> DataKeys() {
  return {{"train", nullptr, CheckText},         {"validation", 0.1, CheckValidation},
          {"test", nullptr, CheckText},          {"text", "sentence", CheckTextColumns},
          {"label", "label", CheckLabelColumns}, {"label_separator", nullptr, CheckText}};
}

std::vector<TrainerKey> TextClassificationKeys() {
  return {{"type", nullptr, CheckText},
          {"version", kTrainerVersion, IntegerCheck(kTrainerVersion, kTrainerVersion)},
          {"data", nullptr, CheckText},
          {"multi_label", nullptr, CheckBoolean},
          {"regression", nullptr, CheckBoolean},
          {"class_weights", nullptr, CheckClassWeights},
          {"split_seed", nullptr, IntegerCheck(INT64_MIN, INT64_MAX)},
          {"evaluate_every", 1, CheckEvaluateEvery},
          {"checkpoints", json::object(), CheckCheckpoints},
          {"threads", 1, IntegerCheck(1, kMaxThreads)},
          {"limit_rows", nullptr, IntegerCheck(1, INT32_MAX)},
          {"time_limit", nullptr, CheckTimeLimit},
          {"options", json::object(), CheckObject}};
}

std::vector<TrainerKey> CommandKeys() {
  std::vector<TrainerKey> keys = {{"type", nullptr, CheckText},
                                  {"version", 1, IntegerCheck(0, INT32_MAX)},
                                  {"argv", nullptr, CheckArgv},
                                  {"cwd", nullptr, CheckText},
                                  {"env", json::object(), CheckEnvironment},
                                  {"pass_env", json::array(), CheckTexts},
                                  {"deterministic", false, CheckBoolean},
                                  {"time_limit", nullptr, CheckTimeLimit},
                                  {"data", nullptr, CheckText},
                                  {"split_seed", nullptr, IntegerCheck(INT64_MIN, INT64_MAX)},
                                  {"options", json::object(), CheckObject}};
  for (TrainerKey& key : DataKeys()) {
    key.fallback = nullptr;
    keys.push_back(std::move(key));
  }
  return keys;
}

const TrainerKey* Find(const std::vector<TrainerKey>& keys, const std::string& name) {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const TrainerKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

// What to write instead of a name that Hugging Face's Trainer or another tool has for it; else empty.
std::string MendOfForeignName(const std::string& name) {
  static const std::map<std::string, std::string> kNames = {
      {"batch_size", "per_device_train_batch_size"},
      {"hidden_dropout_prob", "dropout"},
      {"lr", "learning_rate"},
      {"lr_scheduler_type", "scheduler_name"},
      {"max_length", "max_seq_length"},
      {"model", "model_name_or_path"},
      {"optim", "optimizer_name"},
      {"optimizer", "optimizer_name"},
      {"scheduler", "scheduler_name"},
      {"warmup_ratio", "warmup_steps"},
  };
  if (const auto found = kNames.find(name); found != kNames.end())
    return absl::StrFormat("The option is \"%s\"", found->second);
  if (name == "num_train_epochs" || name == "epochs")
    return "Training's length is the study's budget: \"budget\": {\"unit\": \"epochs\", \"max\": 3}";
  if (name == "max_steps")
    return "Training's length is the study's budget: \"budget\": {\"unit\": \"steps\", \"max\": 1000}";
  if (name == "seed") return "Give the study \"seed\", or \"objective\": {\"seeds\": [1, 2, 3]}";
  return "";
}

std::string DidYouMean(const std::string& name, const std::vector<TrainerKey>& keys) {
  if (const std::string mend = MendOfForeignName(name); !mend.empty()) return mend;
  std::vector<std::string> names;
  for (const TrainerKey& key : keys) names.push_back(key.name);
  const std::string close = ClosestName(name, names);
  if (!close.empty()) return absl::StrFormat("Did you mean \"%s\"?", close);
  if (FindOption(name) != nullptr) return absl::StrFormat("Put \"%s\" into trainer.options", name);
  return "The keys are " + absl::StrJoin(names, ", ");
}

absl::Status Missing(const std::string& where, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0445", where + " is missing", where, "", mend});
}

// Every key known and valid; defaults filled in. `prefix` is "trainer." or "".
absl::Status CheckKeys(const std::vector<TrainerKey>& keys, const std::string& prefix, json* object) {
  for (const auto& [name, value] : object->items()) {
    const TrainerKey* key = Find(keys, name);
    if (key == nullptr)
      return OptionError("E0440", prefix + name, value, "is unknown", DidYouMean(name, keys));
    RUNG_RETURN_IF_ERROR(key->check(value, prefix + name));
  }
  for (const TrainerKey& key : keys) {
    if (!key.fallback.is_null() && !object->contains(key.name)) (*object)[key.name] = key.fallback;
  }
  return absl::OkStatus();
}

const SearchedOption* FindSearched(const std::vector<SearchedOption>& searched, const std::string& name) {
  const auto found = std::find_if(searched.begin(), searched.end(),
                                  [&](const SearchedOption& option) { return option.name == name; });
  return found == searched.end() ? nullptr : &*found;
}

absl::Status CheckSearchedOption(const SearchedOption& option) {
  const std::string where = "space." + option.name;
  if (option.name == "data") {
    for (const json& value : option.values) RUNG_RETURN_IF_ERROR(CheckText(value, where));
    return option.values.empty() ? OptionError("E0441", where, option.low, "is a range",
                                               "List the paths of the data descriptions")
                                 : absl::OkStatus();
  }
  const OptionRow* row = FindOption(option.name);
  if (row == nullptr) {
    const std::string close = ClosestName(option.name, OptionNames());
    const bool fixed =
        Find(TextClassificationKeys(), option.name) != nullptr || Find(DataKeys(), option.name) != nullptr;
    const std::string foreign = MendOfForeignName(option.name);
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0444", absl::StrFormat("no trainer reads the parameter \"%s\"", option.name), where, option.name,
         fixed              ? absl::StrFormat("Fix it as trainer.%s; it cannot be searched", option.name)
         : !foreign.empty() ? foreign
         : close.empty()    ? "The options are " + absl::StrJoin(OptionNames(), ", ")
                            : absl::StrFormat("Did you mean \"%s\"?", close)});
  }
  for (const json& value : option.values) RUNG_RETURN_IF_ERROR(CheckOption(*row, value, where));
  if (!option.values.empty()) return absl::OkStatus();
  if (!row->IsNumber()) return OptionError("E0441", where, option.low, "is a range", "List the values");
  if (row->IsInteger() && !option.integer) {
    return OptionError("E0441", where, option.low, "is a range of reals", "Write {\"int\": [low, high]}");
  }
  for (const double end : {option.low, option.high}) {
    const json value = option.integer ? json(static_cast<int64_t>(end)) : json(end);
    RUNG_RETURN_IF_ERROR(CheckOption(*row, value, where));
  }
  return absl::OkStatus();
}

absl::Status CheckFixedOptions(const json& options) {
  for (const auto& [name, value] : options.items()) {
    const std::string where = "trainer.options." + name;
    const OptionRow* row = FindOption(name);
    if (row != nullptr) {
      RUNG_RETURN_IF_ERROR(CheckOption(*row, value, where));
      continue;
    }
    const std::string close = ClosestName(name, OptionNames());
    const bool outside = Find(TextClassificationKeys(), name) != nullptr || Find(DataKeys(), name) != nullptr;
    const std::string foreign = MendOfForeignName(name);
    return OptionError("E0440", where, value, "is unknown",
                       outside            ? absl::StrFormat("Put \"%s\" into trainer itself", name)
                       : !foreign.empty() ? foreign
                       : close.empty()    ? "The options are " + absl::StrJoin(OptionNames(), ", ")
                                          : absl::StrFormat("Did you mean \"%s\"?", close));
  }
  return absl::OkStatus();
}

absl::Status CheckFixedOnce(const json& trainer, const std::vector<SearchedOption>& searched) {
  for (const SearchedOption& option : searched) {
    const bool in_options = trainer.contains("options") && trainer["options"].is_object() &&
                            trainer["options"].contains(option.name);
    if (!in_options && !(option.name == "data" && trainer.contains("data"))) continue;
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0443", absl::StrFormat("\"%s\" is both fixed and searched", option.name), "space." + option.name,
         option.name,
         absl::StrFormat("Remove it from the space or from %s", in_options ? "trainer.options" : "trainer")});
  }
  return absl::OkStatus();
}

// "variant" says what peft.method would.
absl::Status CheckVariant(const json& options, const std::vector<SearchedOption>& searched) {
  const auto stands = [&](const char* name) {
    return options.contains(name) || FindSearched(searched, name) != nullptr;
  };
  if (!stands("variant") || !stands("peft.method")) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0443", "\"peft.method\" stands beside \"variant\", which says it too",
                    options.contains("peft.method") ? "trainer.options.peft.method" : "space.peft.method",
                    "peft.method", "Remove it: \"variant\" is full, evaluate or lora"});
}

// `data` names whole descriptions; train and its companions would contradict them.
absl::StatusOr<std::vector<TrainerKey>> KeysFor(const json& trainer, bool described) {
  std::vector<TrainerKey> keys = TextClassificationKeys();
  for (TrainerKey& key : DataKeys()) {
    if (!described) {
      keys.push_back(std::move(key));
    } else if (trainer.contains(key.name)) {
      return absl::Status(MakeError(
          absl::StatusCode::kInvalidArgument,
          {"E0443",
           absl::StrFormat("trainer.%s stands beside \"data\", whose descriptions name it", key.name),
           "trainer." + key.name, key.name, absl::StrFormat("Move %s into the data description", key.name)}));
    }
  }
  if (!described && !trainer.contains("train"))
    return Missing("trainer.train", "Give the path of the training data");
  return keys;
}

// Label columns of `trainer` or of a data description, whose keys `prefix` names, as the task wants them.
absl::Status CheckLabels(const json& object, Task task, const std::string& prefix) {
  const bool listed = object.contains("label") && object["label"].is_array();
  if (listed && task != Task::kMultiLabel) {
    return OptionError("E0441", prefix + "label", object["label"], "is a list",
                       "Name one column, or set \"multi_label\": true in trainer");
  }
  if (object.contains("label_separator") && (listed || task != Task::kMultiLabel)) {
    return OptionError("E0442", prefix + "label_separator", object["label_separator"], "separates nothing",
                       "Remove it: only names of several labels in one column are separated");
  }
  return absl::OkStatus();
}

absl::StatusOr<json> CheckTextClassification(json trainer, const std::vector<SearchedOption>& searched,
                                             int64_t default_split_seed) {
  const bool described = trainer.contains("data") || FindSearched(searched, "data") != nullptr;
  RUNG_ASSIGN_OR_RETURN(const std::vector<TrainerKey> keys, KeysFor(trainer, described));
  RUNG_RETURN_IF_ERROR(CheckKeys(keys, "trainer.", &trainer));
  if (trainer.value("multi_label", false) && trainer.value("regression", false)) {
    return OptionError("E0443", "trainer.regression", true, "stands beside \"multi_label\"",
                       "Keep one of them");
  }
  if (trainer.contains("class_weights") && TaskOf(trainer) != Task::kSingleLabel) {
    return OptionError("E0443", "trainer.class_weights", trainer["class_weights"],
                       "stands beside \"multi_label\" or \"regression\"",
                       "Remove it: only rows with one label are weighted");
  }
  RUNG_RETURN_IF_ERROR(CheckLabels(trainer, TaskOf(trainer), "trainer."));
  RUNG_RETURN_IF_ERROR(CheckFixedOptions(trainer["options"]));
  for (const SearchedOption& option : searched) RUNG_RETURN_IF_ERROR(CheckSearchedOption(option));
  RUNG_RETURN_IF_ERROR(CheckFixedOnce(trainer, searched));
  json& options = trainer["options"];
  RUNG_RETURN_IF_ERROR(CheckVariant(options, searched));
  if (!options.contains("model_name_or_path") && FindSearched(searched, "model_name_or_path") == nullptr) {
    return Missing("trainer.options.model_name_or_path", "Give the path or the Hub name of an encoder");
  }
  for (const OptionRow& row : OptionTable()) {
    if (!row.fallback.is_null() && !options.contains(row.name) &&
        FindSearched(searched, row.name) == nullptr) {
      options[row.name] = row.fallback;
    }
  }
  json& checkpoints = trainer["checkpoints"];
  const json defaults = {{"every", 300}, {"keep_last", 1}};
  for (const auto& [name, value] : defaults.items()) {
    if (!checkpoints.contains(name)) checkpoints[name] = value;
  }
  if (!trainer.contains("split_seed")) trainer["split_seed"] = default_split_seed;
  return trainer;
}

absl::StatusOr<json> CheckCommand(json trainer, const std::vector<SearchedOption>& searched) {
  RUNG_RETURN_IF_ERROR(CheckKeys(CommandKeys(), "trainer.", &trainer));
  if (!trainer.contains("argv")) return Missing("trainer.argv", "Give the program and its arguments");
  RUNG_RETURN_IF_ERROR(CheckFixedOnce(trainer, searched));
  return trainer;
}

void AssignData(const json& object, TextOptions* options) {
  options->train = object.value("train", "");
  options->test = object.value("test", "");
  const json validation = object.value("validation", json(0.1));
  options->validation_path = validation.is_string() ? validation.get<std::string>() : "";
  options->validation_share = validation.is_number() ? validation.get<double>() : 0;
  options->folds = validation.is_object() ? validation["folds"].get<int>() : 0;
  const json text = object.value("text", json("sentence"));
  options->text_columns = text.is_array() ? text.get<std::vector<std::string>>()
                                          : std::vector<std::string>{text.get<std::string>()};
  const json label = object.value("label", json("label"));
  options->label_columns = label.is_array() ? label.get<std::vector<std::string>>()
                                            : std::vector<std::string>{label.get<std::string>()};
  options->label_separator = object.value("label_separator", ",");
}

void AssignRunning(const json& trainer, TextOptions* options) {
  options->split_seed = trainer["split_seed"].get<int64_t>();
  if (trainer.contains("limit_rows")) options->limit_rows = trainer["limit_rows"].get<int>();
  const json weights = trainer.value("class_weights", json());
  options->class_weights.balanced = weights.is_string();
  if (weights.is_array()) options->class_weights.listed = weights.get<std::vector<double>>();
  if (weights.is_object()) options->class_weights.named = weights.get<std::map<std::string, double>>();
  options->threads = trainer["threads"].get<int>();
  options->evaluate_every = trainer["evaluate_every"].get<double>();
  const json& checkpoints = trainer["checkpoints"];
  options->checkpoint_every_seconds = *Seconds(checkpoints["every"]);
  options->keep_last = checkpoints["keep_last"].get<int>();
}

// A config's values as parameters of one value each, so that it is checked like a space.
std::vector<SearchedOption> AsSearched(const json& config) {
  std::vector<SearchedOption> searched;
  for (const auto& [name, value] : config.items()) searched.push_back({name, {value}, 0, 0, false});
  return searched;
}

}  // namespace

absl::StatusOr<json> CheckedTrainer(const json& trainer, const std::vector<SearchedOption>& searched,
                                    int64_t default_split_seed) {
  if (!trainer.is_object())
    return OptionError("E0441", "trainer", trainer, "is not an object", "Give {\"type\": ...}");
  const json type = trainer.value("type", json());
  if (type == "text_classification") return CheckTextClassification(trainer, searched, default_split_seed);
  if (type == "command") return CheckCommand(trainer, searched);
  const std::string mend = "Give \"text_classification\" or \"command\"";
  if (type.is_null()) return Missing("trainer.type", mend);
  return OptionError(type.is_string() ? "E0442" : "E0441", "trainer.type", type, "is no trainer", mend);
}

absl::StatusOr<TextOptions> ResolveOptions(const json& trainer, const json& config) {
  if (trainer.value("type", json()) != "text_classification") {
    return OptionError("E0442", "trainer.type", trainer.value("type", json()), "has no options of its own",
                       "Give \"text_classification\"");
  }
  RUNG_ASSIGN_OR_RETURN(const json checked, CheckedTrainer(trainer, AsSearched(config)));
  TextOptions options;
  options.task = TaskOf(checked);
  AssignRunning(checked, &options);
  if (config.contains("data")) {
    options.data = config["data"].get<std::string>();
  } else if (checked.contains("data")) {
    options.data = checked["data"].get<std::string>();
  } else {
    AssignData(checked, &options);
  }
  for (const OptionRow& row : OptionTable()) {
    const json& source = config.contains(row.name) ? config : checked["options"];
    if (source.contains(row.name)) AssignOption(row, source[row.name], &options);
  }
  if (options.variant == Variant::kLora) options.peft_method = PeftMethod::kLora;
  return options;
}

Task TaskOf(const json& trainer) {
  if (trainer.value("multi_label", false)) return Task::kMultiLabel;
  return trainer.value("regression", false) ? Task::kRegression : Task::kSingleLabel;
}

json ClassWeightsJson(const ClassWeights& weights) {
  if (weights.balanced) return "balanced";
  if (!weights.listed.empty()) return weights.listed;
  return weights.named.empty() ? json() : json(weights.named);
}

absl::Status ApplyDataDescription(const std::string& path, TextOptions* options) {
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxDescriptionBytes);
  if (!text.ok()) {
    if (text.status().code() != absl::StatusCode::kNotFound) return text.status();
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0409", "there is no such data description", path, path, "Check the path"});
  }
  json object = ParseJson(*text);
  if (object.is_discarded() || !object.is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0441", "the data description is not a JSON object", path, "",
                      "Give {\"train\": ..., \"validation\": ..., \"test\": ...}"});
  }
  std::vector<TrainerKey> keys = DataKeys();
  keys.push_back({"name", nullptr, CheckText});
  RUNG_RETURN_IF_ERROR(CheckKeys(keys, path + ": ", &object));
  RUNG_RETURN_IF_ERROR(CheckLabels(object, options->task, path + ": "));
  if (!object.contains("train")) return Missing(path + ": train", "Give the path of the training data");
  const std::string directory = std::filesystem::path(path).parent_path().string();
  for (const char* key : {"train", "validation", "test"}) {
    if (object.contains(key) && object[key].is_string())
      object[key] = AbsolutePath(object[key].get<std::string>(), directory);
  }
  AssignData(object, options);
  return absl::OkStatus();
}

}  // namespace rung
