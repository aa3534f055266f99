#include "worker/training/trial_file.h"

#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

using nlohmann::json;

// Reads keys of one object; the first broken one is kept and everything after it is ignored.
class Reader {
 public:
  Reader(const json& object, std::string path) : object_(object), path_(std::move(path)) {}

  template <typename T>
  void Number(const char* key, T& out) {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number()) return Fail(key, "a number");
    out = found->get<T>();
  }
  void Text(const char* key, std::string& out) {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string()) return Fail(key, "a string");
    out = found->get<std::string>();
  }
  void Object(const char* key, json& out) {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_object()) return Fail(key, "an object");
    out = *found;
  }
  void Texts(const char* key, std::map<std::string, std::string>& out) {
    const auto found = object_.find(key);
    if (found == object_.end()) return;
    if (!found->is_object()) return Fail(key, "an object of strings");
    for (const auto& [name, value] : found->items()) {
      if (!value.is_string()) return Fail(key, "an object of strings");
      out[name] = value.get<std::string>();
    }
  }
  // One of `names`; its index goes to out.
  template <size_t N>
  void Choice(const char* key, const char* const (&names)[N], size_t& out) {
    const auto found = object_.find(key);
    for (size_t i = 0; found != object_.end() && i < N; ++i) {
      if (*found == names[i]) {
        out = i;
        return;
      }
    }
    Fail(key, std::string("one of the known words, as ") + names[0]);
  }
  void Fail(const std::string& key, const std::string& expected) {
    if (!status_.ok()) return;
    status_ = MakeError(absl::StatusCode::kInvalidArgument,
                        {.code = "E0752",
                         .message = "the trial file's " + key + " should be " + expected,
                         .where = path_,
                         .value = "",
                         .mend = "Write it as docs/trainer-messages.md describes"});
  }
  const absl::Status& status() const { return status_; }

 private:
  const json& object_;
  std::string path_;
  absl::Status status_;
};

absl::Status ReadObjective(const json& object, const std::string& path, TrialFile& trial) {
  Reader reader(object, path);
  reader.Text("metric", trial.metric);
  size_t goal = 0, report = 0;
  reader.Choice("goal", {"maximize", "minimize"}, goal);
  if (object.contains("report")) reader.Choice("report", {"last", "best"}, report);
  trial.maximize = goal == 0;
  trial.report_best = report == 1;
  return reader.status();
}

absl::Status ReadBudget(const json& object, const std::string& path, TrialFile& trial) {
  Reader reader(object, path);
  size_t unit = 0;
  reader.Choice("unit", {"epochs", "steps", "samples"}, unit);
  trial.unit = static_cast<BudgetScale::Unit>(unit);
  reader.Number("to", trial.budget_to);
  reader.Number("max", trial.budget_max);
  return reader.status();
}

}  // namespace

absl::StatusOr<TrialFile> ReadTrialFile(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const json file = json::parse(text, nullptr, false);
  TrialFile trial;
  Reader reader(file, path);
  if (!file.is_object()) {
    reader.Fail("text", "a JSON object");
    return reader.status();
  }
  int protocol = 0;
  reader.Number("protocol", protocol);
  if (protocol != 1) reader.Fail("protocol", "1");
  size_t kind = 0, promotion = 0;
  reader.Choice("kind", {"train", "evaluate"}, kind);
  trial.kind = static_cast<AttemptKind>(kind);
  reader.Number("trial", trial.trial);
  reader.Number("rung", trial.rung);
  reader.Number("replicate", trial.replicate);
  reader.Number("attempt", trial.attempt);
  reader.Number("seed", trial.seed);
  reader.Object("config", trial.config);
  reader.Object("trainer", trial.trainer);
  reader.Choice("on_promotion", {"resume", "restart"}, promotion);
  trial.resume_on_promotion = promotion == 0;
  reader.Text("checkpoint_dir", trial.checkpoint_dir);
  reader.Text("output_dir", trial.output_dir);
  reader.Texts("inputs", trial.inputs);
  reader.Texts("data_sha256", trial.data_sha256);
  json objective, budget;
  reader.Object("objective", objective);
  reader.Object("budget", budget);
  if (const auto fold = file.find("fold"); fold != file.end() && fold->is_number_integer())
    trial.fold = fold->get<int>();
  if (const auto from = file.find("resume_dir"); from != file.end() && from->is_string()) {
    trial.resume_dir = from->get<std::string>();
  }
  RUNG_RETURN_IF_ERROR(reader.status());
  RUNG_RETURN_IF_ERROR(ReadObjective(objective, path, trial));
  RUNG_RETURN_IF_ERROR(ReadBudget(budget, path, trial));
  return trial;
}

}  // namespace rung
