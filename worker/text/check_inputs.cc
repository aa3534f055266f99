// CheckInputs (trainer_options.h): the study's data and models, looked at before anything is stored.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/data_findings.h"
#include "worker/text/dataset.h"
#include "worker/text/json_file.h"
#include "worker/text/model_directory.h"
#include "worker/text/model_fit.h"
#include "worker/text/option_table.h"
#include "worker/text/study_data.h"
#include "worker/text/tokenizer.h"
#include "worker/text/trainer_options.h"

namespace rung {
namespace {

using nlohmann::json;

// Of worker/training/task_tally.h; a test there compares.
constexpr const char* kScores[] = {
    "loss", "accuracy",        "f1_macro",     "f1_weighted",        "f1_micro",
    "mcc",  "precision_macro", "recall_macro", "precision_weighted", "recall_weighted"};
constexpr const char* kCorrelations[] = {"pearson", "spearman"};  // not of running training
constexpr const char* kMeasures[] = {"train/updates", "train/rows", "train/budget", "train/seconds",
                                     "validation/seconds"};

// All values an option can take in the study: searched, fixed, or none.
std::vector<json> ValuesOf(const std::string& name, const json& trainer,
                           const std::vector<SearchedOption>& searched) {
  for (const SearchedOption& option : searched) {
    if (option.name != name) continue;
    return option.values.empty() ? std::vector<json>{option.high} : option.values;
  }
  if (trainer.contains(name)) return {trainer[name]};
  if (trainer.contains("options") && trainer["options"].contains(name)) return {trainer["options"][name]};
  return {};
}

absl::Status CommandError(const std::string& message, const std::string& pointer, const std::string& value,
                          const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0721", message, "#/trainer/" + pointer, value, mend});
}

bool Exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

bool IsProgram(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

// As the worker finds it (worker/trainer_child.h): a name on PATH, which trainer.env may set, else a path
// from `directory`.
absl::Status CheckProgram(const json& trainer, const std::string& directory) {
  const std::string name = trainer["argv"][0].get<std::string>();
  if (name.find('/') != std::string::npos) {
    const std::string path = AbsolutePath(name, directory);
    if (IsProgram(path)) return absl::OkStatus();
    const bool there = Exists(path);
    return CommandError(there ? path + " is no executable program" : "there is no program " + path, "argv/0",
                        name,
                        there ? "Make it executable (chmod +x), or name its interpreter before it"
                              : "Correct the path; it is relative to trainer.cwd");
  }
  const char* own = std::getenv("PATH");
  const std::string path = trainer.value("env", json::object()).value("PATH", own == nullptr ? "" : own);
  for (const absl::string_view each : absl::StrSplit(path, ':')) {
    if (IsProgram(AbsolutePath((each.empty() ? "." : std::string(each)) + "/" + name, directory)))
      return absl::OkStatus();
  }
  const char* mend = "Install it, give its path, or --no-check where only the workers have it";
  if (name.find(' ') != std::string::npos)
    mend = "No shell reads it: make each argument a string of its own, [\"python3\", \"train.py\"]";
  return CommandError(
      "there is no program " + name + " on PATH", "argv/0", name,
      Exists(directory + "/" + name) ? "Write ./" + name + " for the one in trainer.cwd" : mend);
}

// Links followed: the python of a virtual environment is the system's.
bool LiesBelow(const std::string& path, const std::string& directory) {
  std::error_code error;
  const std::filesystem::path way = std::filesystem::relative(path, directory, error);
  return !error && !way.empty() && *way.begin() != "..";
}

std::vector<std::string> ArgvOf(const json& trainer) {
  return trainer["argv"].get<std::vector<std::string>>();
}

absl::Status CheckScript(const json& trainer, const std::string& directory) {
  const std::optional<size_t> script = ScriptArgument(ArgvOf(trainer));
  if (!script.has_value()) return absl::OkStatus();
  const std::string argument = trainer["argv"][*script].get<std::string>();
  if (Exists(AbsolutePath(argument, directory))) return absl::OkStatus();
  return CommandError("there is no script " + AbsolutePath(argument, directory),
                      "argv/" + std::to_string(*script), argument,
                      "Correct the path; it is relative to trainer.cwd");
}

// Where the study says it, as errors name places.
std::string PlaceOf(const std::string& name, const json& trainer,
                    const std::vector<SearchedOption>& searched) {
  for (const SearchedOption& option : searched) {
    if (option.name == name) return "space." + name;
  }
  return trainer.contains(name) ? "trainer." + name : "trainer.options." + name;
}

// A file or model that is not there: the place in the study that names it, instead of the file's own path.
absl::Status WithPlace(const absl::Status& status, const json& trainer,
                       const std::vector<SearchedOption>& searched) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value() || (detail->code != "E0409" && detail->code != "E0432")) return status;
  for (const char* key : {"train", "validation", "test"}) {
    if (trainer.value(key, json()) == detail->value) detail->where = PlaceOf(key, trainer, {});
  }
  if (detail->code == "E0432") detail->where = PlaceOf("model_name_or_path", trainer, searched);
  return MakeError(status.code(), *std::move(detail));
}

class InputsCheck {
 public:
  InputsCheck(const json& trainer, const std::vector<SearchedOption>& searched,
              const std::string& base_directory)
      : trainer_(trainer), searched_(searched), base_directory_(base_directory) {}

  absl::StatusOr<CheckedInputs> TextClassification() {
    const std::vector<json> descriptions = ValuesOf("data", trainer_, searched_);
    TextOptions options;
    if (descriptions.empty()) {
      RUNG_ASSIGN_OR_RETURN(options, ResolveOptions(trainer_, ModelStandIn()));
      RUNG_RETURN_IF_ERROR(CheckData(options));
    }
    for (const json& description : descriptions) {
      json config = ModelStandIn();
      if (!trainer_.contains("data")) config["data"] = description;
      RUNG_ASSIGN_OR_RETURN(options, ResolveOptions(trainer_, config));
      const std::string path = AddInput(description.get<std::string>());
      RUNG_RETURN_IF_ERROR(ApplyDataDescription(path, &options));
      RUNG_RETURN_IF_ERROR(Hash(path));
      RUNG_RETURN_IF_ERROR(CheckData(options));
    }
    for (const json& model : ValuesOf("model_name_or_path", trainer_, searched_)) {
      RUNG_RETURN_IF_ERROR(CheckModel(model.get<std::string>()));
    }
    return Finish();
  }

  // A user's program reads its files as it likes: they must be there.
  absl::StatusOr<CheckedInputs> Command() {
    const std::string directory = trainer_.value("cwd", base_directory_);
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      return CommandError("there is no directory " + directory, "cwd", directory,
                          "Correct the path; it is relative to the study file");
    }
    RUNG_RETURN_IF_ERROR(CheckProgram(trainer_, directory));
    RUNG_RETURN_IF_ERROR(CheckScript(trainer_, directory));
    if (trainer_.value("deterministic", false)) RUNG_RETURN_IF_ERROR(HashProgram(directory));
    RUNG_RETURN_IF_ERROR(HashDataFiles(trainer_, ""));
    for (const json& description : ValuesOf("data", trainer_, searched_)) {
      const std::string path = AddInput(description.get<std::string>());
      RUNG_RETURN_IF_ERROR(Hash(path));
      if (std::filesystem::path(path).extension() != ".json") continue;  // data itself, not a description
      RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
      const json object = ParseJson(text);
      if (!object.is_object()) continue;
      RUNG_RETURN_IF_ERROR(HashDataFiles(object, std::filesystem::path(path).parent_path().string()));
    }
    return Finish();
  }

 private:
  // ResolveOptions wants a model where the space searches it; the data check does not read it.
  json ModelStandIn() const {
    json config = json::object();
    const std::vector<json> models = ValuesOf("model_name_or_path", trainer_, searched_);
    const bool fixed = trainer_.contains("options") && trainer_["options"].contains("model_name_or_path");
    if (!fixed && !models.empty()) config["model_name_or_path"] = models.front();
    return config;
  }

  std::string AddInput(const std::string& name) {
    const std::string path = AbsolutePath(name, base_directory_);
    inputs_[name] = path;
    return path;
  }

  absl::Status Hash(const std::string& path) {
    if (path.empty() || hashes_.contains(path)) return absl::OkStatus();
    const absl::StatusOr<std::string> hash = FileSha256Hex(path);
    if (!hash.ok()) return DataFileError(hash.status(), path);
    hashes_[path] = *hash;
    return absl::OkStatus();
  }

  // The files that a result which is copied later must have come from. An interpreter is a part of its node,
  // not of the study: nodes and images may have unlike ones.
  absl::Status HashProgram(const std::string& directory) {
    const std::string name = trainer_["argv"][0].get<std::string>();
    const std::string program = AbsolutePath(name, directory);
    const std::optional<size_t> script = ScriptArgument(ArgvOf(trainer_));
    const bool named_by_path = name.find('/') != std::string::npos;
    if (named_by_path && (LiesBelow(program, directory) || !script.has_value()))
      RUNG_RETURN_IF_ERROR(Hash(program));  // without a script it is no interpreter, wherever it lies
    if (!script.has_value()) return absl::OkStatus();
    return Hash(AbsolutePath(trainer_["argv"][*script].get<std::string>(), directory));
  }

  absl::Status HashDataFiles(const json& object, const std::string& directory) {
    for (const char* key : {"train", "validation", "test"}) {
      if (!object.contains(key) || !object[key].is_string()) continue;
      RUNG_RETURN_IF_ERROR(Hash(AbsolutePath(object[key].get<std::string>(), directory)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckData(const TextOptions& options) {
    RUNG_ASSIGN_OR_RETURN(const StudyData data,
                          LoadStudyData(options, options.folds > 0 ? std::optional<int>(0) : std::nullopt));
    for (const std::string& path : {options.train, options.validation_path, options.test})
      RUNG_RETURN_IF_ERROR(Hash(path));
    const int64_t rows = static_cast<int64_t>(data.train.size());
    train_rows_ = train_rows_ == 0 ? rows : std::min(train_rows_, rows);
    pairs_ = pairs_ || options.text_columns.size() == 2;
    classes_.push_back(ClassesOf(data, options));
    for (std::string& warning : DataWarnings(data, options)) warnings_.insert(std::move(warning));
    if (options.limit_rows) {
      warnings_.insert(absl::StrFormat("limit_rows = %d: only the first %d rows of %s are trained on",
                                       *options.limit_rows, rows, options.train));
    }
    return absl::OkStatus();
  }

  absl::Status CheckModel(const std::string& name) {
    RUNG_ASSIGN_OR_RETURN(const std::string directory, ResolveModel(name, base_directory_));
    inputs_[name] = directory;
    RUNG_ASSIGN_OR_RETURN(const ModelFiles files, CheckModelDirectory(directory));
    RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer(directory));
    RUNG_RETURN_IF_ERROR(CheckModelFit(*tokenizer, files.config, directory, pairs_));
    RUNG_RETURN_IF_ERROR(Hash(directory + "/config.json"));
    for (const std::string& path : files.weights_paths) RUNG_RETURN_IF_ERROR(Hash(path));
    for (const char* file :
         {"/tokenizer.json", "/tokenizer_config.json", "/vocab.txt", "/vocab.json", "/merges.txt"}) {
      if (std::filesystem::exists(directory + file)) RUNG_RETURN_IF_ERROR(Hash(directory + file));
    }
    RUNG_RETURN_IF_ERROR(CheckAtMost("max_seq_length", files.config.MaxTokens(),
                                     absl::StrFormat("is more than the model %s can read", name)));
    return CheckAtMost("head.last_layers", LayerCount(files.config),
                       absl::StrFormat("is more layers than the model %s has", name));
  }

  absl::Status CheckAtMost(const char* option, int most, const std::string& fault) const {
    for (const json& value : ValuesOf(option, trainer_, searched_)) {
      if (value.get<double>() <= most) continue;
      return OptionError("E0442", PlaceOf(option, trainer_, searched_), value, fault,
                         absl::StrFormat("Give at most %d", most));
    }
    return absl::OkStatus();
  }

  CheckedInputs Finish() const {
    CheckedInputs checked;
    checked.inputs.assign(inputs_.begin(), inputs_.end());
    checked.data_sha256.assign(hashes_.begin(), hashes_.end());
    checked.train_rows = train_rows_;
    checked.classes = classes_;
    checked.warnings.assign(warnings_.begin(), warnings_.end());
    return checked;
  }

  const json& trainer_;
  const std::vector<SearchedOption>& searched_;
  const std::string& base_directory_;
  std::map<std::string, std::string> inputs_;
  std::map<std::string, std::string> hashes_;
  std::vector<TrainingClasses> classes_;
  std::set<std::string> warnings_;
  int64_t train_rows_ = 0;
  bool pairs_ = false;  // some data set has two texts a row
};

std::vector<std::string> MetricNames(Task task) {
  std::vector<std::string> names;
  for (const std::string part : {"validation/", "train/"}) {
    if (task == Task::kRegression) {
      names.push_back(part + "loss");
      for (const char* score : kCorrelations) {
        if (part == "validation/") names.push_back(part + score);
      }
      continue;
    }
    for (const std::string score : kScores) {
      if (task == Task::kSingleLabel || score != "mcc") names.push_back(part + score);
    }
  }
  names.insert(names.end(), std::begin(kMeasures), std::end(kMeasures));
  return names;
}

// The score that other tools' names of a validation score mean, "eval_accuracy" or "val/accuracy"; else
// empty.
std::string ValidationScore(const std::string& metric) {
  for (const char* prefix : {"eval", "val", "valid", "validation", "dev", "test"}) {
    absl::string_view rest = metric;
    if (!absl::ConsumePrefix(&rest, prefix) || rest.empty() || (rest[0] != '_' && rest[0] != '/')) continue;
    for (const char* score : kScores) {
      if (rest.substr(1) == score) return std::string("validation/") + score;
    }
  }
  return "";
}

}  // namespace

absl::Status CheckMetric(const json& trainer, const std::string& metric) {
  if (trainer.value("type", json()) == "command") return absl::OkStatus();
  const std::vector<std::string> names = MetricNames(TaskOf(trainer));
  if (std::find(names.begin(), names.end(), metric) != names.end()) return absl::OkStatus();
  // "validation/f1" is the beginning of three, and nearer to "validation/mcc" by its letters.
  std::vector<std::string> longer;
  for (const std::string& name : names) {
    if (name.find(metric) != std::string::npos) longer.push_back(name);
  }
  std::string meant = ValidationScore(metric);
  if (std::find(names.begin(), names.end(), meant) == names.end()) meant.clear();  // not of this task
  const std::string close = !meant.empty()       ? meant
                            : longer.size() == 1 ? longer.front()
                                                 : ClosestName(metric, names);
  const std::string mend = longer.size() > 1 ? "Take one of " + absl::StrJoin(longer, ", ")
                           : close.empty()   ? "Take one of " + absl::StrJoin(names, ", ")
                                             : absl::StrFormat("Did you mean \"%s\"?", close);
  return OptionError("E0757", "objective.metric", metric, "is no metric of this trainer", mend);
}

absl::StatusOr<CheckedInputs> CheckInputs(const json& trainer, const std::vector<SearchedOption>& searched,
                                          const std::string& base_directory) {
  InputsCheck check(trainer, searched, base_directory);
  absl::StatusOr<CheckedInputs> checked =
      trainer.value("type", json()) == "command" ? check.Command() : check.TextClassification();
  if (!checked.ok()) return WithPlace(checked.status(), trainer, searched);
  return checked;
}

}  // namespace rung
