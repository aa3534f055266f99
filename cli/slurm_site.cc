#include "cli/slurm_site.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/coordinator_access.h"
#include "cli/slurm_tools.h"

extern char** environ;

namespace rung {
namespace {

constexpr int64_t kClusterEnvLimit = 64 << 10;
constexpr int64_t kJobsLimit = 1 << 20;
constexpr int64_t kStatusLimit = int64_t{16} << 20;
constexpr absl::Duration kReachDeadline = absl::Seconds(5);

std::vector<std::string> OurEnvironment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

const char* Role(JobShape shape) {
  switch (shape) {
    case JobShape::kOneJob:
      return "job";
    case JobShape::kCoordinator:
      return "coordinator";
    case JobShape::kWorkers:
      return "workers";
  }
  return "";
}

// Appended in one write: a job may append its successor at the same moment.
absl::Status NoteJob(const SlurmJob& job, int64_t number) {
  const std::string line = std::to_string(number) + " " + Role(job.shape) + "\n";
  const int file =
      open(job.jobs_path().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written =
      file >= 0 && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int error = errno;
  if (file >= 0) close(file);
  if (written) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInternal,
      {"E0806", std::string("the job's number cannot be kept: ") + strerror(error), job.jobs_path(),
       std::to_string(number), "Make room; the job itself was submitted, see `squeue --me`"});
}

bool Over(const std::string& state) {
  return state == "done" || state == "stopped" || state == "failed";
}

}  // namespace

void AddSiteFlags(CLI::App& command, SiteFlags& flags) {
  command.add_option("--cluster", flags.cluster_file,
                     "Settings of the site (default: cluster.env in the state directory)");
  command.add_option("--partition", flags.partition, "Partition");
  command.add_option("--account", flags.account, "Account");
  command.add_option("--qos", flags.qos, "Quality of service");
  command.add_option("--constraint", flags.constraint, "Features a node must have");
  command.add_option("--time", flags.time, "Time limit as sbatch takes it, e.g. 08:00:00");
  command.add_option("--gpus-per-worker", flags.gpus_per_worker,
                     "GPUs of each worker; 0: train on the CPU (default 1)");
  command.add_option(
      "--trials-per-gpu", flags.trials_per_gpu,
      "Trials at once on the GPUs of each worker, each with its own cores and memory (default 1)");
  command.add_option("--cpus-per-worker", flags.cpus_per_worker, "Cores of each worker (default 1)");
  command.add_option("--memory-per-worker", flags.memory_per_worker, "Memory of each worker, e.g. 16G");
}

absl::StatusOr<SlurmRequest> SiteRequest(const SiteFlags& flags, const StateDir& dir) {
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

absl::StatusOr<int64_t> SubmitJob(const SlurmJob& job, const std::vector<std::string>& options) {
  RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(job));
  RUNG_RETURN_IF_ERROR(MakeDirectories(job.state_dir + "/slurm"));
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(job.script_path(), script));
  RUNG_ASSIGN_OR_RETURN(
      const int64_t number,
      SubmitScript(job.script_path(), options, JobEnvironment(OurEnvironment(), job.request.pass_env)));
  RUNG_RETURN_IF_ERROR(NoteJob(job, number));
  return number;
}

std::vector<NotedJob> NotedJobs(const StateDir& dir, const std::string& study) {
  std::vector<NotedJob> jobs;
  const auto text = ReadFile(dir.root + "/slurm/" + study + ".jobs", kJobsLimit);
  if (!text.ok()) return jobs;
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    NotedJob job;
    if (words.size() != 2 || !absl::SimpleAtoi(words[0], &job.number)) continue;
    job.role = words[1];
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<std::string> StudiesWithJobs(const StateDir& dir) {
  std::vector<std::string> studies;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir.root + "/slurm", error)) {
    if (entry.path().extension() == ".jobs") studies.push_back(entry.path().stem().string());
  }
  std::sort(studies.begin(), studies.end());
  return studies;
}

absl::StatusOr<KnownStudy> LookAtStudy(const StateDir& dir, const std::string& name, Clock& clock) {
  if (absl::StatusOr<Client> client = ReachLiving(dir, kReachDeadline); client.ok()) {
    const absl::StatusOr<v1::StudyStatus> status = client->FindStudy(name);
    if (status.ok()) return KnownStudy{StudyJson(*status), std::nullopt, Over(status->state())};
    if (!MayPass(status.status())) return status.status();
  }
  const auto text = ReadFile(dir.status(), kStatusLimit);
  const OrderedJson known = OrderedJson::parse(text.value_or(""), nullptr, false);
  if (known.is_object() && known.contains("studies") && known["studies"].is_array()) {
    absl::Time written;
    const bool dated =
        absl::ParseTime(absl::RFC3339_full, known.value("written_at", std::string()), &written, nullptr);
    for (const OrderedJson& study : known["studies"]) {
      if (!study.is_object() || study.value("name", std::string()) != name) continue;
      const absl::Duration age = dated ? clock.Now() - written : absl::InfiniteDuration();
      return KnownStudy{study, age, Over(study.value("state", std::string()))};
    }
  }
  return MakeError(absl::StatusCode::kNotFound, {"E0380", "there is no study `" + name + "`", dir.root, name,
                                                 "See the studies with `rung study list`"});
}

}  // namespace rung
