// rung slurm cancel S: ends its jobs.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/coordinator_access.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"

namespace rung {
namespace {

absl::StatusOr<int> Cancel(Context& context, const std::string& study) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  const std::vector<NotedJob> noted = NotedJobs(dir, study);
  if (noted.empty()) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0808", "no job was submitted for a study `" + study + "` from this directory",
                      dir.root, study, "See `rung slurm status`, or cancel by number with scancel"});
  }
  RUNG_ASSIGN_OR_RETURN(std::vector<QueuedJob> queued, FindInQueue(Numbers(noted, "")));
  // What waits goes first, or it would start when the others end.
  RUNG_RETURN_IF_ERROR(EndJobs(InOrderOfLeaving(queued), "TERM"));
  // A job may just have submitted the one that is to follow it.
  std::vector<int64_t> later;
  for (const NotedJob& job : NotedJobs(dir, study)) {
    const bool known = std::any_of(noted.begin(), noted.end(),
                                   [&](const NotedJob& each) { return each.number == job.number; });
    if (!known) later.push_back(job.number);
  }
  RUNG_ASSIGN_OR_RETURN(const std::vector<QueuedJob> followers, FindInQueue(later));
  RUNG_RETURN_IF_ERROR(EndJobs(followers, "TERM"));
  queued.insert(queued.end(), followers.begin(), followers.end());
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["name"] = study;
    json["cancelled"] = OrderedJson::array();
    for (const QueuedJob& job : queued) json["cancelled"].push_back(job.id);
    PrintJson(json);
  } else {
    const std::string count = Counted(static_cast<int64_t>(queued.size()), "job");
    PrintText(queued.empty()
                  ? "None of its jobs is in the queue.\n"
                  : count + " to end; what is stored stays, `rung slurm submit` goes on with it\n");
  }
  return 0;
}

}  // namespace

void AddSlurmCancelCommand(CLI::App& slurm, Context& context) {
  CLI::App& command =
      *slurm.add_subcommand("cancel", "End all jobs of a study; its workers checkpoint, and nothing is lost");
  command.footer("Example:\n  rung slurm cancel gnad10");
  const auto study = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("STUDY", *study, "Name of the study")->required();
  command.callback(
      [&context, study] { context.action = [&context, study] { return Cancel(context, *study); }; });
}

}  // namespace rung
