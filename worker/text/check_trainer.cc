// A study's trainer object and what it searches, checked before anything is stored.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "worker/text/option_table.h"
#include "worker/text/trainer_keys.h"
#include "worker/text/trainer_options.h"

namespace rung {
namespace {

using nlohmann::json;

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
    const bool fixed = IsTrainerKey(option.name);
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0444", absl::StrFormat("no trainer reads the parameter \"%s\"", option.name), where, option.name,
         fixed ? absl::StrFormat("Fix it as trainer.%s; it cannot be searched", option.name)
               : MendOfUnknownOption(option.name)});
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
    return OptionError("E0440", where, value, "is unknown",
                       IsTrainerKey(name) ? absl::StrFormat("Put \"%s\" into trainer itself", name)
                                          : MendOfUnknownOption(name));
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

// Options that say what another one would.
absl::Status CheckSaidOnce(const json& options, const std::vector<SearchedOption>& searched) {
  struct Pair {
    std::string option, other, mend;
  };
  const std::vector<Pair> pairs = {
      {"variant", "peft.method", "Remove it: \"variant\" is full, evaluate or lora"},
      {"head.sizes", "head.layers", "Remove it: \"head.sizes\" lists the width of every layer but the last"},
      {"head.sizes", "head.size", "Remove it: \"head.sizes\" lists the width of every layer but the last"}};
  const auto stands = [&](const std::string& name) {
    return options.contains(name) || FindSearched(searched, name) != nullptr;
  };
  for (const auto& [option, other, mend] : pairs) {
    if (!stands(option) || !stands(other)) continue;
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0443", absl::StrFormat("\"%s\" stands beside \"%s\", which says it too", other, option),
         (options.contains(other) ? "trainer.options." : "space.") + other, other, mend});
  }
  return absl::OkStatus();
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
  return keys;
}

absl::StatusOr<json> CheckTextClassification(json trainer, const std::vector<SearchedOption>& searched,
                                             int64_t default_split_seed) {
  const bool described = trainer.contains("data") || FindSearched(searched, "data") != nullptr;
  RUNG_ASSIGN_OR_RETURN(const std::vector<TrainerKey> keys, KeysFor(trainer, described));
  RUNG_RETURN_IF_ERROR(CheckKeys(keys, "trainer.", &trainer));
  if (!described && !trainer.contains("train"))  // an unknown key comes first: it may be this one
    return MissingKey("trainer.train", "Give the path of the training data");
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
  RUNG_RETURN_IF_ERROR(CheckSaidOnce(options, searched));
  if (!options.contains("model_name_or_path") && FindSearched(searched, "model_name_or_path") == nullptr) {
    return MissingKey("trainer.options.model_name_or_path", "Give the path or the Hub name of an encoder");
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
  if (!trainer.contains("argv")) return MissingKey("trainer.argv", "Give the program and its arguments");
  RUNG_RETURN_IF_ERROR(CheckFixedOnce(trainer, searched));
  return trainer;
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
  if (type.is_null()) return MissingKey("trainer.type", mend);
  return OptionError(type.is_string() ? "E0442" : "E0441", "trainer.type", type, "is no trainer", mend);
}

}  // namespace rung
