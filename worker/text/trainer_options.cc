#include "worker/text/trainer_options.h"

#include <filesystem>

#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"
#include "worker/text/option_table.h"
#include "worker/text/trainer_keys.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxDescriptionBytes = 1 << 20;

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
  options->checkpoint_every_seconds = *SecondsOf(checkpoints["every"]);
  options->keep_last = checkpoints["keep_last"].get<int>();
}

// A config's values as parameters of one value each, so that it is checked like a space.
std::vector<SearchedOption> AsSearched(const json& config) {
  std::vector<SearchedOption> searched;
  for (const auto& [name, value] : config.items()) searched.push_back({name, {value}, 0, 0, false});
  return searched;
}

}  // namespace

absl::StatusOr<TextOptions> ResolveOptions(const json& trainer, const json& config) {
  if (trainer.value("type", json()) != "text_classification") {
    return OptionError("E0442", "trainer.type", trainer.value("type", json()), "has no options of its own",
                       "Give \"text_classification\"");
  }
  RUNG_ASSIGN_OR_RETURN(const json checked, CheckedTrainer(trainer, AsSearched(config)));
  TextOptions options;
  options.task = TaskOf(checked);
  AssignRunning(checked, &options);
  // A study that was stored before there was this key goes on as it began.
  if (trainer.contains("precision"))
    options.precision = *PrecisionOf(trainer["precision"].get<std::string>());
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
  if (!object.contains("train")) return MissingKey(path + ": train", "Give the path of the training data");
  const std::string directory = std::filesystem::path(path).parent_path().string();
  for (const char* key : {"train", "validation", "test"}) {
    if (object.contains(key) && object[key].is_string())
      object[key] = AbsolutePath(object[key].get<std::string>(), directory);
  }
  AssignData(object, options);
  return absl::OkStatus();
}

}  // namespace rung
