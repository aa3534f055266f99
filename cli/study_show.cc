// rung study show S: how a study stands.
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/outcome.h"
#include "cli/progress.h"
#include "cli/slurm_site.h"
#include "cli/views.h"

namespace rung {
namespace {

absl::StatusOr<int> Show(Context& context, const std::string& name) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(name));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(study));
  const std::optional<double> allocated = AskAllocatedSeconds(dir, study.name());
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(StudyJson(study));
    json["allocated_seconds"] = allocated.has_value() ? OrderedJson(*allocated) : OrderedJson(nullptr);
    json["unaccounted_seconds"] =
        allocated.has_value() ? OrderedJson(UnaccountedSeconds(study, *allocated)) : OrderedJson(nullptr);
    json["spec"] = OrderedJson::parse(study.canonical_json());
    PrintJson(json);
    return 0;
  }
  std::string text;
  const auto line = [&text](const std::string& key, const std::string& value) {
    if (!value.empty()) text += absl::StrFormat("%-11s %s\n", key, Printable(value));
  };
  line("study", absl::StrFormat("%d  %s", study.id(), study.name()));
  line("description", spec.description);
  line("state", study.state() + (study.message().empty() ? "" : ": " + study.message()));
  line("algorithm", absl::StrFormat("%s, eta %s, on_promotion %s", Name(spec.algorithm.type),
                                    NumberText(spec.budget.eta), Name(spec.budget.on_promotion)));
  line("objective", absl::StrFormat("%s %s", Name(spec.objective.goal), spec.objective.metric));
  line("created", LocalTimeText(study.created_at_ms()));
  if (study.finished_at_ms() != 0) line("finished", LocalTimeText(study.finished_at_ms()));
  line("active", DurationText(absl::Seconds(study.active_seconds())) + ", device time " +
                     DurationText(absl::Seconds(study.device_seconds())));
  line("workers", WorkersText(study, allocated));
  line("budget", absl::StrFormat(
                     "%s of %s trained, %s saved by resuming and copying", NumberText(study.budget_charged()),
                     AmountText(study.budget_planned(), spec.budget.unit), NumberText(study.budget_saved())));
  line("proposals", absl::StrFormat("%d by the model", study.model_proposals()));
  text += "\n";
  RUNG_ASSIGN_OR_RETURN(const std::string hindrance, FindHindrance(client, study));
  const int width = context.terminal.out_is_tty ? context.terminal.width : 0;  // a file has no edge
  for (const std::string& row : ProgressLines(study, spec, width, hindrance)) text += row + "\n";
  if (study.has_incumbent()) line("\nconfig", ConfigText(study.incumbent().config_json()));
  if (const auto failed = study.trials_by_state().find("failed");
      failed != study.trials_by_state().end() && failed->second > 0) {
    RUNG_ASSIGN_OR_RETURN(const auto trials, client.ListTrials(study.id(), "failed"));
    if (!trials.empty()) text += "\n" + FailuresText(study, trials.front());
  }
  PrintText(text);
  if (hindrance == kNoWorkers) PrintNote(kNoWorkersMend);
  return 0;
}

}  // namespace

void AddStudyShowCommand(CLI::App& study, Context& context) {
  CLI::App& command = *study.add_subcommand("show", "Show how a study stands");
  command.footer("Example:\n  rung study show gnad10");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("STUDY", *name, "Name or id (may be left out if there is one study)");
  command.callback([&context, name] { context.action = [&context, name] { return Show(context, *name); }; });
}

}  // namespace rung
