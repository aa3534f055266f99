// `rung slurm submit`: checks the study, stores it, and hands one job to Slurm (deploy/slurm/job.sh).
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/sbatch.h"
#include "cli/slurm_job.h"
#include "cli/study_file.h"
#include "cli/views.h"

extern char** environ;

namespace rung {
namespace {

constexpr int64_t kClusterEnvLimit = 64 << 10;
constexpr absl::Duration kReachDeadline = absl::Seconds(5);
constexpr absl::Duration kShutdownWait = absl::Seconds(20);
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);

// What was typed; a flag that was not typed leaves cluster.env's word.
struct SubmitFlags {
  std::string study_file;
  int workers = 1;
  bool dry_run = false;
  bool no_check = false;
  std::string cluster_file;
  std::optional<std::string> partition, account, qos, constraint, time, memory_per_worker;
  std::optional<int> gpus_per_worker, cpus_per_worker, trials_per_gpu;
};

// Where the state directory is or would be; nothing is made, so that --dry-run leaves no trace.
StateDir PlannedStateDir(const Context& context, const std::string& study_file) {
  if (std::optional<StateDir> found = FindStateDir(context.dir_flag); found.has_value()) return *found;
  return StateDir{std::filesystem::path(AbsolutePath(study_file)).parent_path().string() + "/.rung"};
}

absl::StatusOr<SlurmRequest> Request(const SubmitFlags& flags, const StateDir& dir) {
  SlurmRequest request;
  const std::string site =
      flags.cluster_file.empty() ? dir.root + "/cluster.env" : AbsolutePath(flags.cluster_file);
  const absl::StatusOr<std::string> text = ReadFile(site, kClusterEnvLimit);
  if (text.ok()) {
    RUNG_ASSIGN_OR_RETURN(request, ParseClusterEnv(*text, site, request));
  } else if (!flags.cluster_file.empty() || text.status().code() != absl::StatusCode::kNotFound) {
    return text.status();
  }
  if (flags.partition) request.partition = *flags.partition;
  if (flags.account) request.account = *flags.account;
  if (flags.qos) request.qos = *flags.qos;
  if (flags.constraint) request.constraint = *flags.constraint;
  if (flags.time) request.time = *flags.time;
  if (flags.memory_per_worker) request.memory_per_worker = *flags.memory_per_worker;
  if (flags.gpus_per_worker) request.gpus_per_worker = *flags.gpus_per_worker;
  if (flags.trials_per_gpu) request.trials_per_gpu = *flags.trials_per_gpu;
  if (flags.cpus_per_worker) request.cpus_per_worker = *flags.cpus_per_worker;
  if (!request.setup.empty()) request.setup = AbsolutePath(request.setup, dir.root);
  return request;
}

// A coordinator that works elsewhere keeps the directory: the job's own could only end with 75.
absl::Status RefuseBusy(Client& client, const StateDir& dir) {
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::WorkerRow> workers, client.ListWorkers());
  for (const v1::WorkerRow& worker : workers) {
    if (worker.state() == "gone" || worker.state() == "lost") continue;
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0805", "a coordinator with workers already serves this state directory", dir.root,
         client.endpoint().host, "Let it finish, end it (scancel, Ctrl-C), or give another --dir"});
  }
  return absl::OkStatus();
}

// The coordinator that stored the study for us ends before the job may start: the directory is the job's
// then.
absl::Status EndCoordinator(Client& client, Clock& clock) {
  RUNG_RETURN_IF_ERROR(client.Shutdown(/*drain=*/false));
  const absl::Duration end = clock.Steady() + kShutdownWait;
  while (!ProvedDead(client.endpoint()) && clock.Steady() < end) {
    usleep(static_cast<useconds_t>(absl::ToInt64Microseconds(kLookEvery)));
  }
  return absl::OkStatus();  // one that lingers gives way to the job's by itself
}

// Creates the study in the state directory, or finds the same one: submitting again goes on with it. A
// coordinator that was there before is left alone: one that was started for another call gives way to the
// job's by itself.
absl::StatusOr<v1::StudyStatus> StoreStudy(const PreparedStudy& study, const StateDir& dir, Clock& clock) {
  const bool lived = ReachLiving(dir, kReachDeadline).ok();
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kWrite, clock));
  if (lived) RUNG_RETURN_IF_ERROR(RefuseBusy(client, dir));
  absl::StatusOr<v1::CreateStudyResponse> created =
      client.CreateStudy(CreateRequest(study, /*resume_if_same=*/true));
  if (!lived) RUNG_RETURN_IF_ERROR(EndCoordinator(client, clock));
  if (!created.ok()) return created.status();
  return created->study();
}

std::vector<std::string> OurEnvironment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

void PrintSubmitted(const Context& context, const v1::StudyStatus& study, int64_t job, const StateDir& dir,
                    const std::string& script) {
  const std::string log = dir.logs() + "/slurm-" + std::to_string(job) + ".log";
  if (context.format == Format::kJson) {
    PrintJson({{"schema", 1},
               {"job", job},
               {"study", study.id()},
               {"name", study.name()},
               {"dir", dir.root},
               {"script", script},
               {"log", log}});
    return;
  }
  PrintText("Submitted job " + std::to_string(job) + " for study " + study.name() + ".\n  log     " + log +
            "\n  watch   rung study watch " + study.name() + " --dir " + dir.root + "\n  cancel  scancel " +
            std::to_string(job) + "\n");
}

absl::StatusOr<int> Submit(const SubmitFlags& flags, const Context& context) {
  RUNG_ASSIGN_OR_RETURN(const PreparedStudy study, PrepareStudy(flags.study_file, !flags.no_check));
  for (const std::string& warning : study.warnings) PrintNote("warning: " + Printable(warning));
  const StateDir dir = PlannedStateDir(context, flags.study_file);
  SlurmJob job;
  job.study_name = study.spec.name;
  job.state_dir = dir.root;
  job.programs = std::filesystem::path(BesideThisProgram("rungd")).parent_path().string();
  job.workers = flags.workers;
  RUNG_ASSIGN_OR_RETURN(job.request, Request(flags, dir));
  RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(job));
  if (flags.dry_run) {
    PrintText(script);
    return 0;
  }
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir.logs()));
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir.root + "/slurm"));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus stored, StoreStudy(study, dir, context.clock));
  if (IsOver(stored)) {
    PrintNote("Study " + stored.name() + " is " + stored.state() +
              ": there is nothing to submit. See `rung study best " + stored.name() + "`.");
    return 0;
  }
  const std::string script_path = dir.root + "/slurm/" + study.spec.name + ".sh";
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(script_path, script));
  RUNG_ASSIGN_OR_RETURN(const int64_t number,
                        SubmitScript(script_path, JobEnvironment(OurEnvironment(), job.request.pass_env)));
  PrintSubmitted(context, stored, number, dir, script_path);
  return 0;
}

}  // namespace

void AddSlurmCommands(CLI::App& app, Context& context) {
  CLI::App* slurm = app.add_subcommand("slurm", "Slurm: run a study as a job");
  slurm->require_subcommand(1);
  CLI::App* submit = slurm->add_subcommand(
      "submit",
      "Submit one job with the coordinator and the workers; submitting the same study again goes on with it");
  submit->footer("Example:\n  rung slurm submit gnad10.json --workers 4 --time 08:00:00");
  auto flags = std::make_shared<SubmitFlags>();  // owners: the parser's options and the action
  submit->add_option("study", flags->study_file, "Study file")->required();
  submit->add_option("--workers", flags->workers, "Workers, one per task")->capture_default_str();
  submit->add_flag("--dry-run", flags->dry_run,
                   "Print the script that would be submitted, and do nothing else");
  submit->add_flag("--no-check", flags->no_check, "Do not read data and model before submitting");
  submit->add_option("--cluster", flags->cluster_file,
                     "Settings of the site (default: cluster.env in the state directory)");
  submit->add_option("--partition", flags->partition, "Partition");
  submit->add_option("--account", flags->account, "Account");
  submit->add_option("--qos", flags->qos, "Quality of service");
  submit->add_option("--constraint", flags->constraint, "Features a node must have");
  submit->add_option("--time", flags->time, "Time limit as sbatch takes it, e.g. 08:00:00");
  submit->add_option("--gpus-per-worker", flags->gpus_per_worker,
                     "GPUs of each worker; 0: train on the CPU (default 1)");
  submit->add_option(
      "--trials-per-gpu", flags->trials_per_gpu,
      "Trials at once on the GPUs of each worker, each with its own cores and memory (default 1)");
  submit->add_option("--cpus-per-worker", flags->cpus_per_worker, "Cores of each worker (default 1)");
  submit->add_option("--memory-per-worker", flags->memory_per_worker, "Memory of each worker, e.g. 16G");
  submit->callback(
      [flags, &context] { context.action = [flags, &context] { return Submit(*flags, context); }; });
}

}  // namespace rung
