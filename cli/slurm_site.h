// What the `rung slurm` commands share: the settings of the site, the list of a study's jobs, the study's
// state without waking a coordinator.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/client.h"
#include "cli/slurm_job.h"
#include "cli/slurm_tools.h"
#include "cli/views.h"

namespace rung {

// What was typed; a flag that was not typed leaves cluster.env's word.
struct SiteFlags {
  std::string cluster_file;
  std::optional<std::string> partition, account, qos, constraint, time, memory_per_worker;
  std::optional<int> gpus_per_worker, cpus_per_worker, trials_per_gpu;
};
void AddSiteFlags(CLI::App& command, SiteFlags& flags);

// STATE_DIR/cluster.env or --cluster FILE under the flags. Errors: those of ParseClusterEnv.
absl::StatusOr<SlurmRequest> SiteRequest(const SiteFlags& flags, const StateDir& dir);

// Submits the job's script, kept in the state directory, and notes its number. Errors: those of JobScript and
// SubmitScript.
absl::StatusOr<int64_t> SubmitJob(const SlurmJob& job, const std::vector<std::string>& options);

// Asks sbatch whether it would take the job; nothing is submitted or written. That nodes are down or busy now
// is no refusal: such a job waits, and what sbatch says of that is returned (else ""). Errors: those of
// JobScript and RunSlurmTool.
absl::StatusOr<std::string> TestJob(const SlurmJob& job);

// A job that was submitted for a study; role: job | coordinator | workers.
struct NotedJob {
  int64_t number = 0;
  std::string role;
  int workers = 0;  // worker processes of the job, or of each task of the array
};
// A list of them, one a line: "17 job 4". Lines that are none are passed over.
std::vector<NotedJob> ParseNotedJobs(const std::string& text);
// The numbers of those with this role; of all if it is empty.
std::vector<int64_t> Numbers(const std::vector<NotedJob>& jobs, const std::string& role);
// STATE_DIR/slurm/STUDY.jobs; empty if there is none.
std::vector<NotedJob> NotedJobs(const StateDir& dir, const std::string& study);
// Worker-seconds that Slurm gave to these jobs, by `sacct --noheader --parsable2 --allocations
// --format=JobID,ElapsedRaw`. nullopt: it knows none of them. Pure.
std::optional<double> AllocatedSeconds(const std::string& sacct, const std::vector<NotedJob>& jobs);
// The same, asked; nullopt also where there is no accounting, or it does not answer soon.
std::optional<double> AskAllocatedSeconds(const StateDir& dir, const std::string& study);

// Jobs of one state directory would wait for each other's lock, whichever study they are for, and the second
// coordinator would end with 75. `queued`: what the queue has; `noted`: by study; option: the --dir of a next
// command. Errors: FailedPrecondition (E0808). Pure.
absl::Status RefuseSecondJob(const std::vector<QueuedJob>& queued,
                             const std::map<std::string, std::vector<NotedJob>>& noted,
                             const std::string& study, const StateDir& dir, const std::string& option);
// The path that the command of WORKSPACE printed, last of all: "/lustre/ws/me-rung". Errors:
// FailedPrecondition (E0809: it failed, or that is no directory of this host).
absl::StatusOr<std::string> MakeWorkspace(const std::string& command);
// Studies of the directory that have such a list.
std::vector<std::string> StudiesWithJobs(const StateDir& dir);

// How a job ended that was submitted for the study, the last one with a coordinator; nullopt: none was, it
// has not ended, or the controller has forgotten it.
struct EndedJob {
  int64_t number = 0;
  std::string state, exit_code;  // as scontrol has them: "FAILED", "1:0"
};
std::optional<EndedJob> LastEndedJob(const std::vector<NotedJob>& jobs);

// What status.json says of the studies, each as in `study show -o json`, and when it was written.
struct WrittenStudies {
  std::vector<OrderedJson> studies;
  std::optional<absl::Time> at;
};
WrittenStudies ReadWrittenStudies(const StateDir& dir);

// A study as the living coordinator tells it, else as status.json does; none is started.
struct KnownStudy {
  OrderedJson study;  // name, state, message, trials_by_state, ...: as in `study show -o json`
  std::optional<absl::Duration> age;  // of what status.json says; nullopt: the coordinator said it now
  bool over = false;
};
// Errors: NotFound (E0380: neither knows it).
absl::StatusOr<KnownStudy> LookAtStudy(const StateDir& dir, const std::string& name, Clock& clock);

}  // namespace rung
