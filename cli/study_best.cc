// rung study best S: the best configs, with the rung and the budget beside each score.
#include <memory>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/outcome.h"
#include "cli/trainer_verb.h"
#include "cli/views.h"
#include "worker/text/trainer_options.h"

namespace rung {
namespace {

struct Options {
  std::string study;
  int top = 1;
  std::string export_directory;
};

std::string RungText(const v1::TrialRow& trial, const StudySpec& spec) {
  const std::vector<double> budgets = spec.RungBudgets();
  const auto rung = static_cast<size_t>(trial.score_rung());
  return BudgetText(trial.score_rung(), rung < budgets.size() ? budgets[rung] : 0, spec.budget.unit);
}

// Where the head is Rung's own, Hugging Face would put an untrained one in its place.
void NoteOwnHead(const StudySpec& spec, const v1::TrialRow& trial) {
  const auto config = nlohmann::json::parse(trial.config_json(), nullptr, false);
  if (!config.is_object()) return;
  const absl::StatusOr<TextOptions> options = ResolveOptions(spec.trainer, config);
  if (!options.ok() || options->head_type == HeadType::kDefault) return;
  PrintNote(
      "the head of this model (head.type) is Rung's own: Hugging Face opens its encoder alone, "
      "`rung model predict` all of it");
}

absl::StatusOr<int> ExportBest(Context& context, const StateDir& dir, const StudySpec& spec,
                               const v1::TrialRow& trial, const std::string& directory) {
  RUNG_ASSIGN_OR_RETURN(const std::string checkpoints, CheckpointsOf(dir, trial));
  RUNG_RETURN_IF_ERROR(RunTrainerVerb({"export", checkpoints, directory}));
  NoteOwnHead(spec, trial);
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = trial.study();
    json["trial"] = trial.trial();
    json["model_path"] = directory;
    PrintJson(json);
  } else {
    PrintText(directory + "\n");
  }
  return 0;
}

absl::StatusOr<int> Best(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(options.study));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(study));
  RUNG_ASSIGN_OR_RETURN(std::vector<v1::TrialRow> trials, client.ListTrials(study.id()));
  trials = BestFirst(std::move(trials), spec.objective.goal);
  if (!options.export_directory.empty()) {
    if (spec.trainer.value("type", "") != "text_classification") {
      return MakeError(
          absl::StatusCode::kFailedPrecondition,
          {"E0398", "only models of the trainer text_classification can be exported", "trainer.type",
           spec.trainer.value("type", ""), "Take the files of your own program's checkpoints"});
    }
    if (trials.empty()) {
      return MakeError(absl::StatusCode::kNotFound, {"E0399", "no trial of the study has a score yet", "",
                                                     study.name(), "Wait for the first result"});
    }
    return ExportBest(context, dir, spec, trials.front(), AbsolutePath(options.export_directory));
  }
  if (trials.size() > static_cast<size_t>(options.top)) trials.resize(static_cast<size_t>(options.top));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = study.id();
    json["name"] = study.name();
    json["metric"] = spec.objective.metric;
    json["goal"] = Name(spec.objective.goal);
    json["trials"] = OrderedJson::array();
    for (const auto& trial : trials) json["trials"].push_back(TrialJson(trial));
    PrintJson(json);
    return 0;
  }
  if (trials.empty()) {
    PrintNote("no trial of " + Printable(study.name()) + " has a score yet");
    return 0;
  }
  Table table({"trial", spec.objective.metric, "at", "origin", "config"});
  for (const auto& trial : trials) {
    table.AddRow({std::to_string(trial.trial()), MetricText(trial.score()), RungText(trial, spec),
                  trial.origin(), ConfigText(trial.config_json())});
  }
  PrintText(table.Text(context.terminal));
  return 0;
}

}  // namespace

void AddStudyBestCommand(CLI::App& study, Context& context) {
  CLI::App& command = *study.add_subcommand("best", "Show the best configs of a study");
  command.footer(
      "Example:\n  rung study best gnad10 --top 5 -o json\n  rung study best gnad10 --export best/");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("STUDY", options->study, "Name or id (may be left out if there is one study)");
  command.add_option("--top", options->top, "How many")->check(AtLeast(1));
  command.add_option("--export", options->export_directory,
                     "Write the best one as a Hugging Face model directory (new or empty)");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Best(context, *options); }; });
}

}  // namespace rung
