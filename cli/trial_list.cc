// rung trial list S: the trials of a study.
#include <memory>

#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

struct Options {
  std::string study;
  std::string state;
  int rung = -1;
};

absl::StatusOr<int> List(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(options.study));
  RUNG_ASSIGN_OR_RETURN(const auto trials, client.ListTrials(study.id(), options.state, options.rung));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = study.id();
    json["name"] = study.name();
    json["trials"] = OrderedJson::array();
    for (const auto& trial : trials) json["trials"].push_back(TrialJson(trial));
    PrintJson(json);
    return 0;
  }
  Table table({"trial", "state", "bracket", "rung", "budget", "score", "origin", "cause", "config"});
  for (const auto& trial : trials) {
    table.AddRow({std::to_string(trial.trial()), trial.state(),
                  trial.bracket() < 0 ? "-" : std::to_string(trial.bracket()), std::to_string(trial.rung()),
                  NumberText(trial.budget()), ScoreText(trial), trial.origin(),
                  trial.cause().empty() ? "-" : trial.cause(), ConfigText(trial.config_json())});
  }
  if (table.empty()) PrintNote("no such trials");
  PrintText(table.Text(context.terminal));
  return 0;
}

}  // namespace

void AddTrialListCommand(CLI::App& trial, Context& context) {
  CLI::App& command = *trial.add_subcommand("list", "List the trials of a study");
  command.footer("Example:\n  rung trial list gnad10 --state failed");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("STUDY", options->study, "Name or id (may be left out if there is one study)");
  command.add_option("--state", options->state, "Only trials in this state")
      ->check(CLI::IsMember({"queued", "running", "waiting", "completed", "stopped", "failed"}));
  command.add_option("--rung", options->rung, "Only trials at this rung (from 0)")->check(AtLeast(0));
  command.callback(
      [&context, options] { context.action = [&context, options] { return List(context, *options); }; });
}

}  // namespace rung
