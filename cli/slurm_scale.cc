// rung slurm scale S --workers N: so many workers of arrays, from now on.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/coordinator_access.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_job.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"

namespace rung {
namespace {

struct ScaleFlags {
  std::string study;
  int workers = 0;
  bool dry_run = false;
  SiteFlags site;
};

// The job that a new array waits for: a coordinator that has not started yet. 0: one lives, and workers reach
// it from other hosts. option: the --dir of a next command.
absl::StatusOr<int64_t> CoordinatorToWaitFor(const StateDir& dir, const std::vector<NotedJob>& noted,
                                             const std::string& option) {
  RUNG_ASSIGN_OR_RETURN(const std::vector<QueuedJob> queued, FindInQueue(Numbers(noted, "coordinator")));
  if (!queued.empty()) return Waits(queued.front()) ? queued.front().number : 0;
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(dir);
  const bool reachable = endpoint.ok() && !endpoint->tcp.empty() && !ProvedDead(*endpoint);
  if (reachable) return 0;
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"E0807", "the study has no coordinator that workers of other hosts can reach", dir.root, "",
       "Submit it with `rung slurm submit STUDY.json --elastic" + option +
           "`, or start one that lives as long as "
           "the study: `rung serve --listen auto --exit-when-done" +
           option + "`"});
}

absl::StatusOr<int> Scale(Context& context, const ScaleFlags& flags) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(const KnownStudy known, LookAtStudy(dir, flags.study, context.clock));
  const std::vector<NotedJob> noted = NotedJobs(dir, flags.study);
  RUNG_ASSIGN_OR_RETURN(const std::vector<QueuedJob> workers, FindInQueue(Numbers(noted, "workers")));
  const auto have = static_cast<int>(workers.size());
  RUNG_ASSIGN_OR_RETURN(const std::vector<QueuedJob> whole, FindInQueue(Numbers(noted, "job")));
  if (!whole.empty())
    PrintNote("the workers of job " + whole.front().id +
              " are not counted: these come beside them, or leave");
  const int wanted = known.over ? 0 : flags.workers;
  if (known.over && flags.workers > 0) PrintNote("the study is over: it needs no workers any more");
  SlurmJob job;
  job.shape = JobShape::kWorkers;
  job.study_name = flags.study;
  job.state_dir = dir.root;
  job.programs = std::filesystem::path(BesideThisProgram("rungd")).parent_path().string();
  job.workers = std::max(1, wanted - have);
  RUNG_ASSIGN_OR_RETURN(job.request, SiteRequest(flags.site, dir));
  int64_t added = 0;
  std::vector<std::string> options;
  if (wanted > have) {
    RUNG_ASSIGN_OR_RETURN(const int64_t coordinator,
                          CoordinatorToWaitFor(dir, noted, DirOptionFor(context, dir)));
    if (coordinator != 0) options.push_back(absl::StrFormat("--dependency=after:%d", coordinator));
  }
  if (flags.dry_run) {
    RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(job));
    PrintNote(absl::StrFormat("%s in the queue, %d wanted", Counted(have, "worker"), wanted));
    if (wanted > have) {
      PrintNote("would run: sbatch " + absl::StrJoin(SubmitArguments(job, options), " "));
      PrintText(script);
    }
    return 0;
  }
  if (wanted > have) {
    RUNG_ASSIGN_OR_RETURN(added, SubmitJob(job, options));
  } else if (wanted < have) {
    std::vector<QueuedJob> leaving = InOrderOfLeaving(workers);
    leaving.resize(static_cast<size_t>(have - wanted));
    RUNG_RETURN_IF_ERROR(EndJobs(leaving, "USR2"));  // deploy/slurm/worker.sh
  }
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["name"] = flags.study;
    json["workers_before"] = have;
    json["workers"] = wanted;
    json["job"] = added != 0 ? OrderedJson(added) : OrderedJson(nullptr);
    PrintJson(json);
    return 0;
  }
  std::string text = absl::StrFormat("%s: %s, %d before", flags.study, Counted(wanted, "worker"), have);
  if (added != 0) text += absl::StrFormat("; job %d brings %d", added, wanted - have);
  if (wanted < have)
    text += absl::StrFormat("; %s when checkpointed",
                            have - wanted == 1 ? "1 leaves" : absl::StrFormat("%d leave", have - wanted));
  PrintText(text + "\n");
  return 0;
}

}  // namespace

void AddSlurmScaleCommand(CLI::App& slurm, Context& context) {
  CLI::App& command = *slurm.add_subcommand(
      "scale", "Have so many workers in the queue for a study: more are submitted, too many are sent home");
  command.footer("Example:\n  rung slurm scale gnad10 --workers 16");
  const auto flags = std::make_shared<ScaleFlags>();  // owners: the parser's callback and the action
  command.add_option("STUDY", flags->study, "Name of the study")->required();
  command.add_option("--workers", flags->workers, "Workers of arrays, running and waiting")
      ->required()
      ->check(CLI::Range(0, kMaxSlurmWorkers));
  command.add_flag("--dry-run", flags->dry_run,
                   "Print the script and the command that would submit it, and do nothing else");
  AddSiteFlags(command, flags->site);
  command.callback(
      [&context, flags] { context.action = [&context, flags] { return Scale(context, *flags); }; });
}

}  // namespace rung
