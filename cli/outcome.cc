#include "cli/outcome.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

constexpr int64_t kMatrixLimit_bytes = int64_t{16} << 20;
constexpr size_t kMessageLines = 12;  // of a failure, beside its first one

std::string ScoreText(const v1::TrialRow& trial, const StudySpec& spec) {
  if (!trial.has_score()) return "none";
  const std::vector<double> budgets = spec.RungBudgets();
  const auto rung = static_cast<size_t>(trial.score_rung());
  return MetricText(trial.score()) + " (" +
         BudgetText(trial.score_rung(), rung < budgets.size() ? budgets[rung] : 0, spec.budget.unit) + ")";
}

bool ResumedAtTop(const v1::TrialRow& trial, const StudySpec& spec) {
  const auto budgets = spec.RungBudgets();
  const int top = static_cast<int>(budgets.size()) - 1;
  for (const auto& rung : trial.rungs()) {
    if (rung.rung() != top) continue;
    for (const auto& replicate : rung.replicates()) {
      // Less than the rung's whole budget was read: the rest came with the checkpoint.
      if (replicate.copied_from().empty() && replicate.charged() > 0 &&
          replicate.charged() < 0.999 * budgets.back()) {
        return true;
      }
    }
  }
  return false;
}

// Rows of two columns of values; the second is left out without a default trial.
class SideBySide {
 public:
  explicit SideBySide(const Outcome& outcome) : outcome_(outcome), table_(Headers(outcome)) {}

  template <typename TextOf>
  void Add(const std::string& name, TextOf text_of) {
    std::vector<std::string> cells = {name, text_of(*outcome_.incumbent)};
    if (outcome_.default_trial.has_value()) cells.push_back(text_of(*outcome_.default_trial));
    table_.AddRow(std::move(cells));
  }
  std::string Text(const Terminal& terminal) const { return table_.Text(terminal); }

 private:
  static std::vector<std::string> Headers(const Outcome& outcome) {
    std::vector<std::string> headers = {"", "incumbent"};
    if (outcome.default_trial.has_value()) headers.push_back("default");
    return headers;
  }
  const Outcome& outcome_;
  Table table_;
};

OrderedJson ConfigOf(const v1::TrialRow& trial) {
  OrderedJson config = OrderedJson::parse(trial.config_json(), nullptr, false);
  return config.is_object() ? config : OrderedJson::object();
}

std::string MatrixText(const std::string& title, const ConfusionMatrix& matrix, const Terminal& terminal) {
  std::vector<std::string> headers = {title};
  for (const std::string& label : matrix.labels) headers.push_back("said " + label);
  Table table(headers);
  for (size_t i = 0; i < matrix.labels.size(); ++i) {
    std::vector<std::string> row = {"is " + matrix.labels[i]};
    for (const int64_t count : matrix.counts[i]) row.push_back(std::to_string(count));
    table.AddRow(std::move(row));
  }
  return "\n" + table.Text(terminal);
}

double SavedShare(const v1::StudyStatus& study) {
  const double all = study.budget_charged() + study.budget_saved();
  return all > 0 ? study.budget_saved() / all : 0;
}

std::string Summary(const Outcome& outcome, const StudySpec& spec) {
  const v1::StudyStatus& study = outcome.study;
  int trials = 0;
  for (const auto& [state, count] : study.trials_by_state()) trials += count;
  const auto failed = study.trials_by_state().find("failed");
  const std::string state = study.state() == "failed" ? "failed" : "is " + study.state();
  std::string text = absl::StrFormat("Study %s %s: %s, %d proposed by the model, %d failed, in %s",
                                     study.name(), state, Counted(trials, "trial"), study.model_proposals(),
                                     failed == study.trials_by_state().end() ? 0 : failed->second,
                                     DurationText(absl::Seconds(study.active_seconds())));
  if (!study.message().empty()) text += " (" + study.message() + ")";
  text = Printable(text) + ".\n";
  text += absl::StrFormat(
      "Trained %s; resuming promoted trials and copying known results saved %s (%.0f %%); "
      "%s resumed at the top rung.\n",
      AmountText(study.budget_charged(), spec.budget.unit), NumberText(study.budget_saved()),
      100 * SavedShare(study), Counted(outcome.resumed_at_top, "trial"));
  return text;
}

// Sentences for a terminal: broken between words, not in the middle of a number.
std::string Wrapped(const std::string& text, const Terminal& terminal) {
  if (!terminal.out_is_tty) return text;
  std::string wrapped;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    size_t column = 0;
    for (const absl::string_view word : absl::StrSplit(line, ' ')) {
      const bool fits = column + 1 + word.size() <= static_cast<size_t>(terminal.width);
      if (column > 0) wrapped += fits ? " " : "\n";
      column = (column > 0 && fits ? column + 1 : 0) + word.size();
      wrapped.append(word.data(), word.size());
    }
    wrapped += "\n";
  }
  wrapped.pop_back();
  return wrapped;
}

// A trainer's last words: the end of them says most.
std::string Indented(const std::string& message) {
  std::vector<std::string> lines = absl::StrSplit(message, '\n');
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool shown = i == 0 || i + kMessageLines > lines.size();
    if (i == 1 && !shown) text += "  ...\n";
    if (shown) text += "  " + Printable(lines[i]) + "\n";
  }
  return text;
}

OrderedJson MatrixJson(const v1::TrialRow& trial) {
  const std::optional<ConfusionMatrix> matrix = ReadConfusionMatrix(trial);
  if (!matrix.has_value()) return nullptr;
  return {{"labels", matrix->labels}, {"counts", matrix->counts}};
}

OrderedJson SideJson(const std::optional<v1::TrialRow>& trial) {
  if (!trial.has_value()) return nullptr;
  OrderedJson json = TrialJson(*trial);
  json["confusion_matrix"] = MatrixJson(*trial);
  return json;
}

}  // namespace

std::optional<ConfusionMatrix> ReadConfusionMatrix(const v1::TrialRow& trial) {
  const auto found = trial.evaluation_outputs().find("confusion_matrix");
  if (found == trial.evaluation_outputs().end()) return std::nullopt;
  const auto bytes = ReadFile(found->second, kMatrixLimit_bytes);
  if (!bytes.ok()) return std::nullopt;
  // The file comes from a trainer, perhaps somebody's own: it is shown only if it is what it says.
  const nlohmann::json json = ParseJson(*bytes);
  const auto is_array = [&json](const char* key) { return json.contains(key) && json[key].is_array(); };
  if (!json.is_object() || !is_array("labels") || !is_array("matrix")) return std::nullopt;
  ConfusionMatrix matrix;
  for (const nlohmann::json& label : json["labels"]) {
    matrix.labels.push_back(label.is_string() ? label.get<std::string>() : label.dump());
  }
  for (const nlohmann::json& row : json["matrix"]) {
    if (!row.is_array()) return std::nullopt;
    matrix.counts.emplace_back();
    for (const nlohmann::json& count : row) {
      if (!count.is_number_integer()) return std::nullopt;
      matrix.counts.back().push_back(count.get<int64_t>());
    }
    if (matrix.counts.back().size() != matrix.labels.size()) return std::nullopt;
  }
  if (matrix.counts.size() != matrix.labels.size()) return std::nullopt;
  return matrix;
}

absl::StatusOr<std::string> CheckpointsOf(const StateDir& dir, const v1::TrialRow& trial) {
  const v1::ReplicateResult* first = nullptr;
  for (const auto& rung : trial.rungs()) {
    if (rung.rung() == trial.score_rung() && rung.replicates_size() > 0) first = &rung.replicates(0);
  }
  if (first != nullptr && first->copied_from().empty()) {
    return dir.checkpoints(trial.study(), trial.trial(), trial.score_rung(), first->replicate(),
                           first->checkpoint_attempt());
  }
  // "STUDY/TRIAL", both ids: another study may have that number for its name.
  const std::vector<std::string> source =
      absl::StrSplit(first == nullptr ? std::string() : first->copied_from(), '/');
  int64_t from_study = 0, from_trial = 0;
  if (source.size() == 2 && absl::SimpleAtoi(source[0], &from_study) &&
      absl::SimpleAtoi(source[1], &from_trial)) {
    return dir.checkpoints(from_study, from_trial, first->copied_rung(), first->copied_replicate(),
                           first->checkpoint_attempt());
  }
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0399", "the best trial has no result to export", "", std::to_string(trial.trial()),
                    "See it with `rung trial show " + std::to_string(trial.trial()) + "`"});
}

absl::StatusOr<Outcome> ReadOutcome(Client& client, const v1::StudyStatus& study, const StudySpec& spec) {
  Outcome outcome{study, std::nullopt, std::nullopt, std::nullopt, 0};
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::TrialRow> trials, client.ListTrials(study.id()));
  const std::string default_config = CanonicalJson(spec.space.Default());
  for (const v1::TrialRow& trial : trials) {
    if (study.has_incumbent() && trial.trial() == study.incumbent().trial()) outcome.incumbent = trial;
    if (!outcome.default_trial.has_value() && trial.origin() == "enqueued" &&
        trial.config_json() == default_config) {
      outcome.default_trial = trial;
    }
    if (!outcome.first_failure.has_value() && trial.state() == "failed") outcome.first_failure = trial;
    if (ResumedAtTop(trial, spec)) ++outcome.resumed_at_top;
  }
  return outcome;
}

std::string OutcomeText(const Outcome& outcome, const StudySpec& spec, const Terminal& terminal) {
  std::string text = Wrapped(Summary(outcome, spec), terminal);
  text += FailuresText(outcome.study, outcome.first_failure);
  if (!outcome.incumbent.has_value()) return text + "No trial has a score.\n";
  SideBySide rows(outcome);
  rows.Add("trial",
           [](const v1::TrialRow& trial) { return std::to_string(trial.trial()) + ", " + trial.origin(); });
  rows.Add(spec.objective.metric, [&spec](const v1::TrialRow& trial) { return ScoreText(trial, spec); });
  std::vector<std::string> tested;
  for (const auto& metric : outcome.incumbent->evaluation()) tested.push_back(metric.name());
  std::sort(tested.begin(), tested.end());
  for (const std::string& name : tested) {
    rows.Add(name, [&name](const v1::TrialRow& trial) {
      const v1::Metric* metric = FindMetric(trial.evaluation(), name);
      return metric == nullptr ? std::string("-") : MetricText(*metric);
    });
  }
  for (const Parameter& parameter : spec.space.parameters()) {
    rows.Add(parameter.name, [&parameter](const v1::TrialRow& trial) {
      const OrderedJson config = ConfigOf(trial);
      if (!config.contains(parameter.name)) return std::string("-");
      const OrderedJson& value = config[parameter.name];
      if (value.is_number_float()) return NumberText(value.get<double>());
      return value.is_string() ? value.get<std::string>() : value.dump();
    });
  }
  text += "\n" + rows.Text(terminal);
  if (const auto matrix = ReadConfusionMatrix(*outcome.incumbent))
    text += MatrixText("incumbent, test", *matrix, terminal);
  if (outcome.default_trial.has_value()) {
    if (const auto matrix = ReadConfusionMatrix(*outcome.default_trial)) {
      text += MatrixText("default, test", *matrix, terminal);
    }
  }
  return text;
}

std::string FailuresText(const v1::StudyStatus& study, const std::optional<v1::TrialRow>& first) {
  const std::map<std::string, int> causes(study.failures_by_cause().begin(), study.failures_by_cause().end());
  std::string text;
  for (const auto& [cause, count] : causes)
    text += absl::StrFormat("%s%d %s", text.empty() ? "Failures: " : ", ", count, cause);
  if (!text.empty()) text = Printable(text) + ".\n";
  if (!first.has_value()) return text;
  text += absl::StrFormat("The first one was trial %d", first->trial()) +
          (first->message().empty() ? ".\n" : ":\n" + Indented(first->message()));
  const std::string name = Printable(study.name()) + "/" + std::to_string(first->trial());
  return text + "See `rung trial show " + name + "` and `rung trial logs " + name + "`.\n";
}

OrderedJson OutcomeJson(const Outcome& outcome, const StudySpec& spec) {
  OrderedJson json = JsonDocument();
  json.update(StudyJson(outcome.study));
  json["metric"] = spec.objective.metric;
  json["goal"] = Name(spec.objective.goal);
  json["budget_unit"] = Name(spec.budget.unit);
  json["incumbent"] = SideJson(outcome.incumbent);
  json["default"] = SideJson(outcome.default_trial);
  json["first_failure"] =
      outcome.first_failure.has_value() ? TrialJson(*outcome.first_failure) : OrderedJson(nullptr);
  json["saved_share"] = SavedShare(outcome.study);
  json["resumed_at_top"] = outcome.resumed_at_top;
  return json;
}

}  // namespace rung
