// rung study plan FILE: what a study would do; nothing is stored, no coordinator is needed.
#include <memory>

#include "cli/commands.h"
#include "cli/plan.h"

namespace rung {
namespace {

struct Options {
  std::string file;
  bool no_check = false;
};

absl::StatusOr<int> Show(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const PreparedStudy study, PrepareStudy(options.file, !options.no_check));
  const PlanReport plan = MakePlan(study);
  if (context.format == Format::kJson) {
    PrintJson(PlanJson(plan, study));
  } else {
    PrintText(PlanText(plan, study, context.terminal));
  }
  return 0;
}

}  // namespace

void AddStudyPlanCommand(CLI::App& study, Context& context) {
  CLI::App& command =
      *study.add_subcommand("plan", "Show brackets, rungs, trials and cost before anything runs");
  command.footer("Example:\n  rung study plan gnad10.json");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("FILE", options->file, "Study file (JSON)")->required();
  command.add_flag("--no-check", options->no_check, "Do not read the data and the model's header");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Show(context, *options); }; });
}

}  // namespace rung
