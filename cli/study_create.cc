// rung study create FILE: checks a study file with its data and model, and stores it; nothing trains until a
// worker comes.
#include <memory>

#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/plan.h"
#include "cli/study_file.h"
#include "cli/views.h"

namespace rung {
namespace {

struct Options {
  std::string file;
  bool no_check = false;
};

absl::StatusOr<int> Create(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const PreparedStudy study, PrepareStudy(options.file, !options.no_check));
  for (const std::string& note : NotesOf(study)) PrintNote(note);
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, StateDirFor(context.dir_flag, options.file));
  if (context.dir_flag.empty()) TellStateDir(dir, options.file);
  if (!options.no_check) RUNG_RETURN_IF_ERROR(CheckDisk(study, 1, dir.root));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kWrite, context.clock));
  RUNG_ASSIGN_OR_RETURN(const auto response, client.CreateStudy(CreateRequest(study, false)));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(StudyJson(response.study()));
    PrintJson(json);
    return 0;
  }
  PrintText("Created study " + std::to_string(response.study().id()) + ", " + response.study().name() +
            ", in " + dir.root + "\nRun it here with `rung run " + options.file + context.DirOption() +
            "`, or start workers with `rung worker start" + DirOptionFor(context, dir) + "`.\n");
  return 0;
}

}  // namespace

void AddStudyCreateCommand(CLI::App& study, Context& context) {
  CLI::App& command =
      *study.add_subcommand("create", "Check a study file with its data and model, and store it");
  command.footer("Example:\n  rung study create gnad10.json");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("FILE", options->file, "Study file (JSON)")->required();
  command.add_flag("--no-check", options->no_check, "Do not read the data and the model's header now");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Create(context, *options); }; });
}

}  // namespace rung
