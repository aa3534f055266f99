#include "worker/text/trainer_keys.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "worker/text/option_table.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int kMaxFolds = 1000;
constexpr int kMaxThreads = 256;
constexpr double kMaxClassWeight = 1e9;

TrainerKey::Check IntegerCheck(int64_t low, int64_t high) {
  return [=](const json& value, const std::string& where) {
    const std::string mend = absl::StrFormat("Give an integer from %d to %d", low, high);
    if (!value.is_number_integer()) return OptionError("E0441", where, value, "is not an integer", mend);
    const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (huge || value.get<int64_t>() < low || value.get<int64_t>() > high)
      return OptionError("E0442", where, value, "is out of range", mend);
    return absl::OkStatus();
  };
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

absl::Status CheckTimeLimit(const json& value, const std::string& where) {
  const std::string mend = "Give seconds, or a time like \"30m\"";
  const std::optional<double> seconds = SecondsOf(value);
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
      const std::optional<double> seconds = SecondsOf(entry);
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

absl::Status CheckPrecision(const json& value, const std::string& where) {
  const std::string mend = "Give \"auto\", \"fp32\" or \"bf16\"";
  if (!value.is_string()) return OptionError("E0441", where, value, "is not a string", mend);
  return PrecisionOf(value.get<std::string>()) ? absl::OkStatus()
                                               : OptionError("E0442", where, value, "is unknown", mend);
}

absl::Status CheckObject(const json& value, const std::string& where) {
  return value.is_object() ? absl::OkStatus()
                           : OptionError("E0441", where, value, "is not an object", "Give an object");
}

absl::Status CheckEnvironment(const json& value, const std::string& where) {
  const bool texts = value.is_object() &&
                     std::all_of(value.begin(), value.end(), [](const json& v) { return v.is_string(); });
  if (!texts)
    return OptionError("E0441", where, value, "is not an object of strings", "Give {\"NAME\": \"value\"}");
  for (const auto& [name, text] : value.items()) {
    if (name.empty() || name.find_first_of(std::string("=\0", 2)) != std::string::npos)
      return OptionError("E0442", where, name, "names no variable", "Give a name without = and NUL");
    if (text.get_ref<const std::string&>().find('\0') != std::string::npos)
      return OptionError("E0442", where + "." + name, text, "has a NUL byte", "Remove it");
  }
  return absl::OkStatus();
}

absl::Status CheckArgv(const json& value, const std::string& where) {
  RUNG_RETURN_IF_ERROR(CheckTexts(value, where));
  return value.empty() || value[0] == ""
             ? OptionError("E0442", where, value, "names no program", "Give the program and its arguments")
             : absl::OkStatus();
}

const TrainerKey* Find(const std::vector<TrainerKey>& keys, const std::string& name) {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const TrainerKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

}  // namespace

absl::Status CheckText(const json& value, const std::string& where) {
  if (!value.is_string()) return OptionError("E0441", where, value, "is not a string", "Give a string");
  if (value.get_ref<const std::string&>().empty())
    return OptionError("E0442", where, value, "is empty", "Give a name or a path");
  return absl::OkStatus();
}

std::optional<double> SecondsOf(const json& value) {
  if (value.is_number()) return value.get<double>();
  absl::Duration duration;
  if (!value.is_string() || !absl::ParseDuration(value.get<std::string>(), &duration)) return std::nullopt;
  return absl::ToDoubleSeconds(duration);
}

std::optional<Precision> PrecisionOf(const std::string& name) {
  if (name == "auto") return Precision::kAuto;
  if (name == "fp32") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBFloat16;
  return std::nullopt;
}

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
          {"precision", "auto", CheckPrecision},
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

bool IsTrainerKey(const std::string& name) {
  return Find(TextClassificationKeys(), name) != nullptr || Find(DataKeys(), name) != nullptr;
}

namespace {

const std::map<std::string, std::string>& ForeignNames() {
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
  return kNames;
}

// What to write instead of a name that Hugging Face's Trainer or another tool has for it; else empty.
std::string MendOfForeignName(const std::string& name) {
  const std::map<std::string, std::string>& names = ForeignNames();
  if (const auto found = names.find(name); found != names.end())
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

}  // namespace

std::string MendOfUnknownOption(const std::string& name) {
  if (const std::string mend = MendOfForeignName(name); !mend.empty()) return mend;
  std::string close = ClosestName(name, OptionNames());
  if (close.empty()) {
    std::vector<std::string> foreign;
    for (const auto& [known, option] : ForeignNames()) foreign.push_back(known);
    if (const std::string known = ClosestName(name, foreign); !known.empty())
      close = ForeignNames().at(known);
  }
  return close.empty() ? "The options are " + absl::StrJoin(OptionNames(), ", ")
                       : absl::StrFormat("Did you mean \"%s\"?", close);
}

absl::Status MissingKey(const std::string& where, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0445", where + " is missing", where, "", mend});
}

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

}  // namespace rung
