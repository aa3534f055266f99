// What the `rung slurm` commands share: the settings of the site, the list of a study's jobs, the study's
// state without waking a coordinator.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/client.h"
#include "cli/slurm_job.h"
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

// A job that was submitted for a study; role: job | coordinator | workers.
struct NotedJob {
  int64_t number = 0;
  std::string role;
};
// STATE_DIR/slurm/STUDY.jobs; empty if there is none.
std::vector<NotedJob> NotedJobs(const StateDir& dir, const std::string& study);
// Studies of the directory that have such a list.
std::vector<std::string> StudiesWithJobs(const StateDir& dir);

// A study as the living coordinator tells it, else as status.json does; none is started.
struct KnownStudy {
  OrderedJson study;  // name, state, message, trials_by_state, ...: as in `study show -o json`
  std::optional<absl::Duration> age;  // of what status.json says; nullopt: the coordinator said it now
  bool over = false;
};
// Errors: NotFound (E0380: neither knows it).
absl::StatusOr<KnownStudy> LookAtStudy(const StateDir& dir, const std::string& name, Clock& clock);

}  // namespace rung
