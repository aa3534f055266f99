#include "cli/study_file.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/client.h"
#include "cli/output.h"
#include "search/json_position.h"
#include "worker/text/json_file.h"
#include "worker/text/model_directory.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

constexpr size_t kClassesShown = 20;
constexpr size_t kClassNameBytes = 40;

absl::Status DirectoryError(const std::string& directory) {
  constexpr size_t kLongest = 200;  // of the list
  std::set<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; at != end; at.increment(error)) {
    if (at->path().extension() == ".json") files.insert(at->path().string());
  }
  if (files.empty()) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0382", "there is no study file in this directory", directory, directory,
                      "Give the path of a study's JSON file"});
  }
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0105", "this is a directory, not a study file", directory, directory,
                    "Name the study's file in it: " + Shortened(absl::StrJoin(files, " or "), kLongest)});
}

absl::StatusOr<std::string> ReadStudyFile(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kStudyFileLimit_bytes);
  if (text.ok()) {
    RUNG_RETURN_IF_ERROR(CheckNotUtf16(*text, path));
    return text;
  }
  if (text.status().code() == absl::StatusCode::kNotFound) {
    return MakeError(absl::StatusCode::kNotFound, {"E0382", "there is no study file " + path, path, path,
                                                   "Check the path, or type `rung run --help`"});
  }
  if (text.status().code() == absl::StatusCode::kResourceExhausted) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0383", absl::StrFormat("the study file is larger than %d bytes", kStudyFileLimit_bytes), path,
         path, "Put long lists into files of their own"});
  }
  std::error_code error;
  return std::filesystem::is_directory(path, error) ? DirectoryError(path) : text.status();
}

// What a study file says wrong is invalid, also where the wrong is a name of something that is not there.
absl::Status AsInvalid(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  if (status.code() != absl::StatusCode::kNotFound || !detail.has_value()) return status;
  return MakeError(absl::StatusCode::kInvalidArgument, *detail);
}

// A space file given as a study: it lacks all that a study needs, and it is a space.
absl::Status ExplainSpace(const absl::Status& status, const std::string& text, const std::string& path) {
  const nlohmann::json json = ParseJson(text);
  if (!json.is_object() || json.contains("trainer") || json.contains("budget") || json.contains("space"))
    return status;
  if (!Space::Parse(json).ok()) return status;
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0390", "this is a space file, not a study", path, path,
                    "Name it as \"space\" in a study file; `rung space check FILE` looks at it alone"});
}

// Directions and targets that the scores' ranges make pointless.
void WarnOfObjective(const StudySpec& spec, std::vector<std::string>& warnings) {
  const std::string& metric = spec.objective.metric;
  const std::string name = metric.substr(metric.rfind('/') + 1);
  const auto begins = [&name](const char* text) { return name.rfind(text, 0) == 0; };
  const bool share = name == "accuracy" || begins("f1") || begins("precision") || begins("recall");
  const bool minimize = spec.objective.goal == Goal::kMinimize;
  if ((share || name == "mcc") && minimize)
    warnings.push_back("objective.goal is minimize, and " + metric + " is better the higher it is");
  if (name == "loss" && !minimize)
    warnings.push_back("objective.goal is maximize, and " + metric + " is better the lower it is");
  const bool of_scores = name != "updates" && name != "rows" && name != "budget" && name != "seconds";
  if (metric.rfind("train/", 0) == 0 && of_scores) {
    warnings.push_back("objective.metric " + metric +
                       " is measured on the rows that are trained on: what learns them by heart wins. A "
                       "validation/ metric tells how a config does on texts that are new");
  }
  const std::optional<double> target = spec.stop.target;
  if (share && target.has_value() && !(*target >= 0 && *target <= 1)) {
    warnings.push_back(absl::StrFormat("stop.target = %g is outside 0 to 1, where %s lies", *target, metric));
  }
}

nlohmann::json JsonValue(const Value& value) {
  return std::visit([](const auto& v) { return nlohmann::json(v); }, value);
}

// Numbers in the weights of the largest model; the inputs that are no model directories have none.
int64_t LargestModel(const std::map<std::string, std::string>& inputs) {
  int64_t largest = 0;
  for (const auto& [name, path] : inputs) {
    const auto weights = WeightFiles::Open(path);
    if (!weights.ok()) continue;
    int64_t all = 0;
    for (const TensorInfo& tensor : (*weights)->tensors()) {
      int64_t numbers = 1;
      for (const int64_t length : tensor.shape) numbers *= length;
      all += numbers;
    }
    largest = std::max(largest, all);
  }
  return largest;
}

}  // namespace

absl::Status CheckNotUtf16(const std::string& text, const std::string& path) {
  const std::string encoding = Utf16Name(text);
  if (encoding.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0301", "this is not JSON: the file is UTF-16, not UTF-8", path, path,
                    absl::StrFormat("Save it as UTF-8 (iconv -f %s -t UTF-8 FILE)", encoding)});
}

std::vector<SearchedOption> SearchedOptions(const Space& space) {
  std::vector<SearchedOption> options;
  for (const Parameter& parameter : space.parameters()) {
    SearchedOption option;
    option.name = parameter.name;
    for (const Value& value : parameter.choices) option.values.push_back(JsonValue(value));
    option.low = parameter.low;
    option.high = parameter.high;
    option.integer = parameter.kind == ParameterKind::kInt;
    options.push_back(std::move(option));
  }
  return options;
}

namespace {

// An error of a study's trainer or data, with the place in the file that says what is wrong: the study's, or
// its space's own.
absl::Status Placed(const absl::Status& status, const std::string& text, const std::string& path) {
  constexpr absl::string_view kSpace = "space.";
  auto detail = GetErrorDetail(status);
  const nlohmann::json study = ParseJson(text);
  if (detail.has_value() && absl::StartsWith(detail->where, kSpace) && study["space"].is_string()) {
    const std::string name = study["space"].get<std::string>();
    const std::string file = (std::filesystem::path(path).parent_path() / name).string();
    const absl::StatusOr<std::string> space = ReadFile(file, kStudyFileLimit_bytes);
    detail->where = detail->where.substr(kSpace.size());
    if (space.ok()) return WithWhere(Located(MakeError(status.code(), *detail), *space, file), file);
  }
  return WithWhere(Located(status, text, path), path);
}

}  // namespace

absl::StatusOr<PreparedStudy> PrepareStudy(const std::string& path, bool read_data) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadStudyFile(path));
  PreparedStudy study;
  study.path = AbsolutePath(path);
  const std::string directory = std::filesystem::path(study.path).parent_path().string();
  absl::StatusOr<StudySpec> spec = StudySpec::Parse(text, path, directory);
  if (!spec.ok()) return ExplainSpace(AsInvalid(spec.status()), text, path);
  study.spec = *std::move(spec);
  const std::vector<SearchedOption> searched = SearchedOptions(study.spec.space);
  absl::StatusOr<nlohmann::json> trainer = CheckedTrainer(study.spec.trainer, searched, study.spec.seed);
  if (!trainer.ok()) return Placed(trainer.status(), text, path);
  study.spec.trainer = *std::move(trainer);
  // A command runs beside its study file, wherever the worker stands.
  if (study.spec.trainer["type"] == "command" && !study.spec.trainer.contains("cwd"))
    study.spec.trainer["cwd"] = directory;
  if (const absl::Status metric = CheckMetric(study.spec.trainer, study.spec.objective.metric);
      !metric.ok()) {
    return Placed(metric, text, path);
  }
  if (read_data) {
    absl::StatusOr<CheckedInputs> checked = CheckInputs(study.spec.trainer, searched, directory);
    if (!checked.ok()) return AsInvalid(Placed(checked.status(), text, path));
    study.inputs.insert(checked->inputs.begin(), checked->inputs.end());
    study.data_sha256.insert(checked->data_sha256.begin(), checked->data_sha256.end());
    study.classes = std::move(checked->classes);
    study.warnings = std::move(checked->warnings);
    study.train_rows = checked->train_rows;
    study.model_parameters = LargestModel(study.inputs);
  }
  WarnOfObjective(study.spec, study.warnings);
  study.canonical_json = study.spec.CanonicalJson();
  return study;
}

std::string ClassesText(const TrainingClasses& found) {
  std::string text = found.path + ": " + Counted(found.rows, "row") + " to train on";
  if (found.classes.empty()) return text;
  text += absl::StrFormat(", %d class%s:", found.classes.size(), found.classes.size() == 1 ? "" : "es");
  for (size_t i = 0; i < std::min(found.classes.size(), kClassesShown); ++i) {
    const auto& [name, rows] = found.classes[i];
    text += absl::StrFormat("%s %s %d", i == 0 ? "" : ",", Shortened(name, kClassNameBytes), rows);
  }
  if (found.classes.size() > kClassesShown)
    text += absl::StrFormat(", and %d more", found.classes.size() - kClassesShown);
  return text;
}

std::vector<std::string> NotesOf(const PreparedStudy& study) {
  std::vector<std::string> notes;
  for (const TrainingClasses& found : study.classes) notes.push_back(Printable(ClassesText(found)));
  for (const std::string& warning : study.warnings) notes.push_back("warning: " + Printable(warning));
  return notes;
}

v1::CreateStudyRequest CreateRequest(const PreparedStudy& study, bool resume_if_same) {
  v1::CreateStudyRequest request;
  request.set_request_id(NewRequestId());
  request.set_canonical_json(study.canonical_json);
  for (const auto& [name, path] : study.inputs) (*request.mutable_inputs())[name] = path;
  for (const auto& [path, sum] : study.data_sha256) (*request.mutable_data_sha256())[path] = sum;
  request.set_resume_if_same(resume_if_same);
  request.set_source_path(study.path);
  return request;
}

}  // namespace rung
