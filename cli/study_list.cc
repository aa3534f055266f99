// rung study list: the studies of a state directory.
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

int TrialCount(const v1::StudyStatus& study) {
  int count = 0;
  for (const auto& [state, n] : study.trials_by_state()) count += n;
  return count;
}

absl::StatusOr<int> List(Context& context) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::StudyStatus> studies, client.ListStudies());
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["studies"] = OrderedJson::array();
    for (const auto& study : studies) json["studies"].push_back(StudyJson(study));
    PrintJson(json);
    return 0;
  }
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::WorkerRow> workers, client.ListWorkers());
  bool idle = false;
  Table table({"id", "study", "state", "trials", "best", "trial", "charged", "created"});
  for (const auto& study : studies) {
    const bool scored = study.has_incumbent() && study.incumbent().has_score();
    const std::string hindrance = Hindrance(study, workers, studies);
    idle = idle || hindrance == kNoWorkers;
    const std::string state = study.state() + (hindrance == kNoWorkers ? ", no workers" : "");
    table.AddRow({std::to_string(study.id()), study.name(), state, std::to_string(TrialCount(study)),
                  scored ? MetricText(study.incumbent().score()) : "-",
                  scored ? std::to_string(study.incumbent().trial()) : "-",
                  NumberText(study.budget_charged()), LocalTimeText(study.created_at_ms())});
  }
  if (table.empty()) PrintNote("no studies yet: make one with `rung run STUDY.json`");
  PrintText(table.Text(context.terminal));
  if (idle) PrintNote(kNoWorkersMend);
  return 0;
}

}  // namespace

void AddStudyListCommand(CLI::App& study, Context& context) {
  CLI::App& command = *study.add_subcommand("list", "List the studies of the state directory");
  command.footer("Example:\n  rung study list -o json");
  command.callback([&context] { context.action = [&context] { return List(context); }; });
}

}  // namespace rung
