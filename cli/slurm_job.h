// The Slurm jobs of a study: what differs between sites and users, and the batch scripts made of it. A script
// is a file of deploy/slurm/ under a head of #SBATCH lines and variables. Pure text; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rung {

// What a site or a user asks of Slurm. Empty: the cluster's default.
struct SlurmRequest {
  std::string partition, account, qos, constraint;
  std::string time;               // as sbatch takes it: "08:00:00", "2-0", minutes
  std::string memory_per_worker;  // "16G", "900M"
  std::string gres = "gpu";       // or "gpu:TYPE": the name by which Slurm gives GPUs
  int gpus_per_worker = 1;        // 0: the workers train on the CPU
  int trials_per_gpu = 1;         // workers that share the GPUs of one task
  int cpus_per_worker = 1;
  std::string lease_ttl = "60s";  // how long a worker may be silent; three times that, and it counts as lost
  int idle_minutes = 10;          // a worker that found no work for so long leaves
  std::string signal = "USR1";    // the name of the warning
  int warning_seconds = 120;      // before the time limit; Slurm looks every 30 s, so it may come 30 s early
  std::string workspace;          // a command that prints the directory below which the state is to lie
  std::string image;              // a container image that has LibTorch: Rung's programs run in it
  std::vector<std::string> modules;   // for `module load`
  std::string setup;                  // a script that the job sources first
  std::vector<std::string> pass_env;  // names of variables of the caller that the job may see
};

// deploy/slurm/cluster.env: KEY=VALUE lines over `defaults`. Errors: InvalidArgument with where = file:line
// (E0801 unknown key or no '=', E0802 a value that Slurm would not take as one word).
absl::StatusOr<SlurmRequest> ParseClusterEnv(const std::string& text, const std::string& where,
                                             SlurmRequest defaults);

enum class JobShape {
  kOneJob,       // begin.sh and job.sh: the coordinator and the workers
  kCoordinator,  // coordinator.sh: the coordinator alone
  kWorkers       // worker.sh: an array of tasks with workers
};

// What comes after a job's time limit.
enum class AfterLimit {
  kRequeue,   // the job itself, queued again
  kNext,      // the job that was submitted to follow it (--chain)
  kSuccessor  // a job that it submits when it starts (--until-done)
};

// Tasks of a job or of an array, at most.
inline constexpr int kMaxSlurmWorkers = 4096;

struct SlurmJob {
  JobShape shape = JobShape::kOneJob;
  AfterLimit after_limit = AfterLimit::kRequeue;
  std::string study_name;
  std::string state_dir;  // absolute
  std::string programs;   // directory of rungd and rung-worker, absolute
  // Where the script and the list of the study's jobs lie.
  std::string script_path() const;
  std::string jobs_path() const;
  int workers = 1;  // tasks; each runs trials_per_gpu worker processes
  SlurmRequest request;
};

// sbatch's forms of a time limit: "30" (minutes), "30:00", "8:00:00", "2-0", "2-0:30", "2-0:30:00";
// "UNLIMITED" and "INFINITE" are InfiniteDuration. nullopt: none of these. Pure.
std::optional<absl::Duration> ParseTimeLimit(const std::string& text);

// What is handed to sbatch beside the script: "--parsable", the options, the script's path.
std::vector<std::string> SubmitArguments(const SlurmJob& job, const std::vector<std::string>& options);

// The whole script. Errors: InvalidArgument (E0802: a value that Slurm would not take as one word, where =
// the flag).
absl::StatusOr<std::string> JobScript(const SlurmJob& job);

// What asks sbatch whether it would take a job with the options of this script's #SBATCH lines: "--test-only"
// and they.
std::vector<std::string> TestArguments(const std::string& script);

// "'it'\''s'": one word for a shell, whatever the text.
std::string ShellQuoted(const std::string& text);

// Variables by which a shell, or a job that we run in, changes what Slurm's programs do; but for SLURM_CONF.
bool IsSettingOfSlurm(const std::string& name);

// The environment that sbatch (and with it the job and the controller's records) gets of `environment`
// ("NAME=value"): names that programs need to start, `pass`, and none of Slurm's own but SLURM_CONF.
// Everything else may hold secrets.
std::vector<std::string> JobEnvironment(const std::vector<std::string>& environment,
                                        const std::vector<std::string>& pass);

}  // namespace rung
