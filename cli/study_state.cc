// rung study pause | resume | stop S.
#include <memory>

#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

absl::StatusOr<int> SetState(Context& context, const std::string& name, const std::string& wanted) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kWrite, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(name));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus after,
                        client.SetStudyState(study.id(), wanted, NewRequestId()));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(StudyJson(after));
    PrintJson(json);
  } else {
    PrintText(Printable(after.name()) + " is " + after.state() + "\n");
  }
  return 0;
}

void Add(CLI::App& study, Context& context, const std::string& verb, const std::string& wanted,
         const std::string& help) {
  CLI::App& command = *study.add_subcommand(verb, help);
  command.footer("Example:\n  rung study " + verb + " gnad10");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  // Never by default: what changes a study says which.
  command.add_option("STUDY", *name, "Name or id")->required();
  command.callback([&context, name, wanted] {
    context.action = [&context, name, wanted] { return SetState(context, *name, wanted); };
  });
}

}  // namespace

void AddStudyStateCommands(CLI::App& study, Context& context) {
  Add(study, context, "pause", "paused", "Grant no new attempts; running ones finish");
  Add(study, context, "resume", "running", "Go on with a paused study");
  Add(study, context, "stop", "stopping", "End a study for good; what was found is kept");
}

}  // namespace rung
