#include "cli/slurm_site.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
constexpr char kSacctSeconds[] = "5";  // `study show` is not kept waiting by an accounting that is down
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
  const int tasks = job.shape == JobShape::kOneJob ? job.workers : 1;
  const int workers = job.shape == JobShape::kCoordinator ? 0 : tasks * job.request.trials_per_gpu;
  const std::string line = absl::StrFormat("%d %s %d\n", number, Role(job.shape), workers);
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
  const bool file = request.image.find("://") == std::string::npos;
  if (!request.image.empty() && file) request.image = AbsolutePath(request.image, dir.root);
  return request;
}

absl::StatusOr<int64_t> SubmitJob(const SlurmJob& job, const std::vector<std::string>& options) {
  RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(job));
  RUNG_RETURN_IF_ERROR(MakeDirectories(job.state_dir + "/slurm"));
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(job.script_path(), script));
  RUNG_ASSIGN_OR_RETURN(
      const int64_t number,
      SubmitScript(SubmitArguments(job, options), JobEnvironment(OurEnvironment(), job.request.pass_env)));
  RUNG_RETURN_IF_ERROR(NoteJob(job, number));
  return number;
}

absl::StatusOr<std::string> TestJob(const SlurmJob& job) {
  RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(job));
  std::vector<std::string> argv = TestArguments(script);
  argv.insert(argv.begin(), "sbatch");
  const absl::Status status =
      RunSlurmTool(argv, JobEnvironment(OurEnvironment(), job.request.pass_env)).status();
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (status.ok()) return std::string();
  if (!detail.has_value() || detail->code != "E0804") return status;
  if (absl::StrContains(detail->message, "busy")) return std::string();
  // Said of nodes that are down, and of ones that there are none of.
  if (absl::StrContains(detail->message, "not available")) return detail->message;
  detail->where = "sbatch --test-only";
  return MakeError(status.code(), *std::move(detail));
}

std::vector<NotedJob> ParseNotedJobs(const std::string& text) {
  std::vector<NotedJob> jobs;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    NotedJob job;
    if (words.size() != 3 || !absl::SimpleAtoi(words[0], &job.number) ||
        !absl::SimpleAtoi(words[2], &job.workers))
      continue;
    job.role = words[1];
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<int64_t> Numbers(const std::vector<NotedJob>& jobs, const std::string& role) {
  std::vector<int64_t> numbers;
  for (const NotedJob& job : jobs) {
    if (role.empty() || job.role == role) numbers.push_back(job.number);
  }
  return numbers;
}

std::vector<NotedJob> NotedJobs(const StateDir& dir, const std::string& study) {
  return ParseNotedJobs(ReadFile(dir.root + "/slurm/" + study + ".jobs", kJobsLimit).value_or(""));
}

std::optional<double> AllocatedSeconds(const std::string& sacct, const std::vector<NotedJob>& jobs) {
  double seconds = 0;
  bool known = false;
  for (const absl::string_view line : absl::StrSplit(sacct, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '|');
    int64_t number = 0, elapsed = 0;
    if (fields.size() < 2 || !absl::SimpleAtoi(fields[0].substr(0, fields[0].find('_')), &number) ||
        !absl::SimpleAtoi(fields[1], &elapsed)) {
      continue;
    }
    for (const NotedJob& job : jobs) {
      if (job.number != number || job.role == "coordinator") continue;
      known = true;
      seconds += static_cast<double>(elapsed) * job.workers;
    }
  }
  return known ? std::optional<double>(seconds) : std::nullopt;
}

std::optional<double> AskAllocatedSeconds(const StateDir& dir, const std::string& study) {
  const std::vector<NotedJob> jobs = NotedJobs(dir, study);
  if (jobs.empty()) return std::nullopt;
  std::vector<std::string> numbers;
  for (const NotedJob& job : jobs) numbers.push_back(std::to_string(job.number));
  // --duplicates: a job that was requeued is a line for each of its starts.
  const auto text =
      RunSlurmTool({"timeout", kSacctSeconds, "sacct", "--noheader", "--parsable2", "--allocations",
                    "--duplicates", "--jobs=" + absl::StrJoin(numbers, ","), "--format=JobID,ElapsedRaw"});
  return text.ok() ? AllocatedSeconds(*text, jobs) : std::nullopt;
}

absl::Status RefuseSecondJob(const std::vector<QueuedJob>& queued,
                             const std::map<std::string, std::vector<NotedJob>>& noted,
                             const std::string& study, const StateDir& dir, const std::string& option) {
  for (const QueuedJob& job : queued) {
    for (const auto& [owner, jobs] : noted) {
      const bool its = std::any_of(jobs.begin(), jobs.end(),
                                   [&](const NotedJob& each) { return each.number == job.number; });
      if (!its) continue;
      const bool ours = owner == study;
      const std::string what = ours ? "the study has jobs in the queue already: "
                                    : "study " + owner + " of this state directory has jobs in the queue: ";
      const std::string mend =
          ours ? "See `rung slurm status " + study + option + "`; more workers: `rung slurm scale " + study +
                     " --workers N" + option + "`; end them: `rung slurm cancel " + study + option + "`"
               : "Give this study a directory of its own with --dir; or wait for " + owner +
                     ", or end its jobs: `rung slurm cancel " + owner + option + "`";
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       {"E0808", what + job.id, dir.root, job.id, mend});
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MakeWorkspace(const std::string& command) {
  const std::vector<std::string> argv = absl::StrSplit(command, ' ', absl::SkipEmpty());
  const auto failed = [&](const std::string& what) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"E0809", what, "WORKSPACE", command,
                      "Try the command in a shell: the last thing that it prints must be a directory"});
  };
  if (argv.empty()) return failed("the workspace's command has no word");
  const absl::StatusOr<std::string> answer = RunSlurmTool(argv);
  if (!answer.ok())
    return failed("the workspace's command failed: " +
                  GetErrorDetail(answer.status()).value_or(ErrorDetail{}).message);
  const std::vector<std::string> words = absl::StrSplit(*answer, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  std::error_code error;
  if (!words.empty() && words.back()[0] == '/' && std::filesystem::is_directory(words.back(), error))
    return words.back();
  return failed("the workspace's command printed no directory");
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

std::optional<EndedJob> LastEndedJob(const std::vector<NotedJob>& jobs) {
  const auto last =
      std::find_if(jobs.rbegin(), jobs.rend(), [](const NotedJob& job) { return job.role != "workers"; });
  if (last == jobs.rend()) return std::nullopt;
  const auto text = RunSlurmTool({"scontrol", "--oneliner", "show", "job", std::to_string(last->number)});
  EndedJob ended;
  ended.number = last->number;
  for (const absl::string_view word : absl::StrSplit(text.value_or(""), ' ')) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (pair.first == "JobState") ended.state = pair.second;
    if (pair.first == "ExitCode") ended.exit_code = pair.second;
  }
  QueuedJob as_queued;
  as_queued.state = ended.state;
  return IsOver(as_queued) ? std::optional<EndedJob>(ended) : std::nullopt;
}

WrittenStudies ReadWrittenStudies(const StateDir& dir) {
  WrittenStudies written;
  const OrderedJson known =
      OrderedJson::parse(ReadFile(dir.status(), kStatusLimit).value_or(""), nullptr, false);
  if (!known.is_object() || !known.contains("studies") || !known["studies"].is_array()) return written;
  absl::Time at;
  if (absl::ParseTime(absl::RFC3339_full, known.value("written_at", std::string()), &at, nullptr))
    written.at = at;
  for (const OrderedJson& study : known["studies"]) {
    if (study.is_object()) written.studies.push_back(study);
  }
  return written;
}

absl::StatusOr<KnownStudy> LookAtStudy(const StateDir& dir, const std::string& name, Clock& clock) {
  if (absl::StatusOr<Client> client = ReachLiving(dir, kReachDeadline); client.ok()) {
    const absl::StatusOr<v1::StudyStatus> status = client->FindStudy(name);
    if (status.ok()) return KnownStudy{StudyJson(*status), std::nullopt, IsOver(*status)};
    if (!MayPass(status.status())) return status.status();
  }
  const WrittenStudies written = ReadWrittenStudies(dir);
  for (const OrderedJson& study : written.studies) {
    if (study.value("name", std::string()) != name) continue;
    const absl::Duration age = written.at ? clock.Now() - *written.at : absl::InfiniteDuration();
    return KnownStudy{study, age, IsOverState(study.value("state", std::string()))};
  }
  return MakeError(absl::StatusCode::kNotFound, {"E0380", "there is no study `" + name + "`", dir.root, name,
                                                 "See the studies with `rung study list`"});
}

}  // namespace rung
