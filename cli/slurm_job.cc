#include "cli/slurm_job.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "cli/slurm_begin_template.h"
#include "cli/slurm_coordinator_template.h"
#include "cli/slurm_template.h"
#include "cli/slurm_worker_template.h"

namespace rung {
namespace {

constexpr int kMaxPerWorker = 1024;  // cpus, gpus
constexpr int kMaxTrialsPerGpu = 64;
constexpr int kDaySeconds = 86400;
// Workers begin nothing, and give back what they train, so long before the warning: it may come 30 s early,
// and what it finds at work must be able to write a checkpoint.
constexpr int kLeaveBeforeWarningSeconds = 60;

// What an option of sbatch may hold: one word, nothing that a quote or a blank could end early.
bool IsOneWord(const std::string& value) {
  constexpr std::string_view kAllowed = "_.,:=@%+/-&|*()[]!";
  return std::all_of(value.begin(), value.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kAllowed.find(c) != std::string_view::npos;
  });
}

bool IsVariableName(const std::string& name) {
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; });
}

absl::Status ValueError(const std::string& key, const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0802", key + " cannot be `" + value + "`", key, value, mend});
}

absl::Status CheckWord(const std::string& key, const std::string& value) {
  if (IsOneWord(value)) return absl::OkStatus();
  return ValueError(key, value, "Give one word as sbatch takes it, without blanks and quotes");
}

absl::StatusOr<int> Number(const std::string& key, const std::string& value, int low, int high) {
  int number = 0;
  if (absl::SimpleAtoi(value, &number) && number >= low && number <= high) return number;
  return ValueError(key, value, absl::StrFormat("Give a whole number from %d to %d", low, high));
}

// "16G", "900M" or a number of MiB; 0 for an empty text.
absl::StatusOr<int64_t> Mebibytes(const std::string& text) {
  if (text.empty()) return 0;
  const char unit = static_cast<char>(std::toupper(static_cast<unsigned char>(text.back())));
  const bool has_unit = unit == 'M' || unit == 'G' || unit == 'T';
  int64_t number = 0;
  if (absl::SimpleAtoi(has_unit ? text.substr(0, text.size() - 1) : text, &number) && number > 0 &&
      number < (int64_t{1} << 30)) {
    return unit == 'T' ? number << 20 : unit == 'G' ? number << 10 : number;
  }
  return ValueError("memory-per-worker", text, "Give it as 900M or 16G");
}

absl::Status CheckNames(const SlurmRequest& request) {
  if (request.gres != "gpu" && request.gres.rfind("gpu:", 0) != 0) {
    return ValueError("gres", request.gres,
                      "Give gpu or gpu:TYPE: CUDA's devices are those that Slurm calls so");
  }
  constexpr std::array<const char*, 5> kSignals = {"USR1", "HUP", "ALRM", "URG", "WINCH"};
  if (std::find(kSignals.begin(), kSignals.end(), request.signal) == kSignals.end()) {
    return ValueError(
        "signal", request.signal,
        "Give " + absl::StrJoin(kSignals, ", ") + "; TERM and USR2 say other things to Rung's jobs");
  }
  absl::Duration lease_ttl;
  if (!absl::ParseDuration(request.lease_ttl, &lease_ttl) || lease_ttl < absl::Seconds(1) ||
      lease_ttl > absl::Hours(1))
    return ValueError("LEASE_TTL", request.lease_ttl, "Give a time from 1s to 1h, like 60s or 5m");
  return absl::OkStatus();
}

// Sets one key of cluster.env.
absl::Status Set(SlurmRequest& request, const std::string& key, const std::string& value) {
  const std::map<std::string, std::string*> words = {{"PARTITION", &request.partition},
                                                     {"ACCOUNT", &request.account},
                                                     {"QOS", &request.qos},
                                                     {"CONSTRAINT", &request.constraint},
                                                     {"TIME", &request.time},
                                                     {"GRES", &request.gres},
                                                     {"SIGNAL", &request.signal},
                                                     {"LEASE_TTL", &request.lease_ttl},
                                                     {"MEMORY_PER_WORKER", &request.memory_per_worker}};
  struct Range {
    int* number;
    int low, high;
  };
  const std::map<std::string, Range> numbers = {
      {"GPUS_PER_WORKER", {&request.gpus_per_worker, 0, kMaxPerWorker}},
      {"TRIALS_PER_GPU", {&request.trials_per_gpu, 1, kMaxTrialsPerGpu}},
      {"CPUS_PER_WORKER", {&request.cpus_per_worker, 1, kMaxPerWorker}},
      {"IDLE_MINUTES", {&request.idle_minutes, 1, kDaySeconds}},
      {"WARNING_SECONDS", {&request.warning_seconds, 30, kDaySeconds}}};
  const std::map<std::string, std::vector<std::string>*> lists = {{"MODULES", &request.modules},
                                                                  {"PASS_ENV", &request.pass_env}};
  if (const auto word = words.find(key); word != words.end()) {
    *word->second = value;
    RUNG_RETURN_IF_ERROR(CheckWord(key, value));
    return CheckNames(request);
  }
  if (const auto number = numbers.find(key); number != numbers.end()) {
    const auto& [target, low, high] = number->second;
    RUNG_ASSIGN_OR_RETURN(*target, Number(key, value, low, high));
    return absl::OkStatus();
  }
  if (const auto list = lists.find(key); list != lists.end()) {
    *list->second = absl::StrSplit(value, ' ', absl::SkipEmpty());
    return absl::OkStatus();
  }
  const std::map<std::string, std::string*> texts = {
      {"SETUP", &request.setup}, {"WORKSPACE", &request.workspace}, {"IMAGE", &request.image}};
  if (const auto text = texts.find(key); text != texts.end()) {
    *text->second = value;
    return absl::OkStatus();
  }
  std::vector<std::string> known;
  for (const auto& [name, unused] : texts) known.push_back(name);
  for (const auto& [name, unused] : words) known.push_back(name);
  for (const auto& [name, unused] : numbers) known.push_back(name);
  for (const auto& [name, unused] : lists) known.push_back(name);
  const std::string close = ClosestName(key, known);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0801", "`" + key + "` is no setting of a cluster", "", key,
       close.empty() ? "Known are " + absl::StrJoin(known, ", ") : "Did you mean " + close + "?"});
}

std::string Unquoted(const std::string& value) {
  const bool quoted =
      value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front();
  return quoted ? value.substr(1, value.size() - 2) : value;
}

absl::Status Check(const SlurmJob& job) {
  const SlurmRequest& request = job.request;
  RUNG_RETURN_IF_ERROR(CheckNames(request));
  for (const auto& [key, value] : std::map<std::string, std::string>{{"partition", request.partition},
                                                                     {"account", request.account},
                                                                     {"qos", request.qos},
                                                                     {"constraint", request.constraint},
                                                                     {"time", request.time},
                                                                     {"gres", request.gres}}) {
    RUNG_RETURN_IF_ERROR(CheckWord(key, value));
  }
  if (!request.time.empty()) {
    const std::optional<absl::Duration> limit = ParseTimeLimit(request.time);
    if (!limit) return ValueError("time", request.time, "Give minutes, HH:MM:SS or DAYS-HH:MM:SS");
    const int margin = request.warning_seconds + kLeaveBeforeWarningSeconds;
    if (*limit <= absl::Seconds(margin)) {
      return ValueError(
          "time", request.time,
          absl::StrFormat("Workers leave %d s before the end (WARNING_SECONDS + %d): give a good deal "
                          "more than that, or lower WARNING_SECONDS in cluster.env",
                          margin, kLeaveBeforeWarningSeconds));
    }
  }
  for (const std::string& module : request.modules) RUNG_RETURN_IF_ERROR(CheckWord("modules", module));
  for (const std::string& name : request.pass_env) {
    if (!IsVariableName(name)) return ValueError("pass-env", name, "Give names of variables, not values");
  }
  if (job.workers < 1 || job.workers > kMaxSlurmWorkers) {
    return ValueError("workers", std::to_string(job.workers),
                      absl::StrFormat("Give 1 to %d", kMaxSlurmWorkers));
  }
  if (request.cpus_per_worker < 1 || request.cpus_per_worker > kMaxPerWorker) {
    return ValueError("cpus-per-worker", std::to_string(request.cpus_per_worker),
                      absl::StrFormat("Give 1 to %d", kMaxPerWorker));
  }
  if (request.gpus_per_worker < 0 || request.gpus_per_worker > kMaxPerWorker) {
    return ValueError("gpus-per-worker", std::to_string(request.gpus_per_worker),
                      absl::StrFormat("Give 0 (CPU only) to %d", kMaxPerWorker));
  }
  const bool shared = request.trials_per_gpu > 1;
  if (request.trials_per_gpu < 1 || request.trials_per_gpu > kMaxTrialsPerGpu ||
      (shared && request.gpus_per_worker == 0)) {
    return ValueError("trials-per-gpu", std::to_string(request.trials_per_gpu),
                      absl::StrFormat("Give 1 to %d, and 1 where workers have no GPU", kMaxTrialsPerGpu));
  }
  // A '%' in --output stands for a number of the job, and a line break would end the option.
  if (job.state_dir.find_first_of("%\n\"'\\") != std::string::npos) {
    return ValueError("dir", job.state_dir,
                      "Choose a state directory without %, quotes and backslashes in its path");
  }
  return absl::OkStatus();
}

const char* JobWord(AfterLimit after) {
  switch (after) {
    case AfterLimit::kRequeue:
      return "requeue";
    case AfterLimit::kNext:
      return "next";
    case AfterLimit::kSuccessor:
      return "successor";
  }
  return "";
}

// As --gpus-per-task takes it: "2", "a100:2".
std::string GpusPerTask(const SlurmRequest& request) {
  const size_t colon = request.gres.find(':');
  const std::string type = colon == std::string::npos ? "" : request.gres.substr(colon + 1) + ":";
  return type + std::to_string(request.gpus_per_worker);
}

void AppendOption(std::string& head, const std::string& option, const std::string& value) {
  if (!value.empty()) head += "#SBATCH --" + option + "=" + value + "\n";
}

}  // namespace

absl::StatusOr<SlurmRequest> ParseClusterEnv(const std::string& text, const std::string& where,
                                             SlurmRequest defaults) {
  SlurmRequest request = std::move(defaults);
  int line_number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++line_number;
    const std::string line(absl::StripAsciiWhitespace(raw));
    if (line.empty() || line[0] == '#') continue;
    const std::string place = where + ":" + std::to_string(line_number);
    const size_t equals = line.find('=');
    if (equals == std::string::npos) {
      return MakeError(absl::StatusCode::kInvalidArgument, {"E0801", "a line is not KEY=VALUE", place, line,
                                                            "Write KEY=VALUE, or # before a remark"});
    }
    const std::string key(absl::StripAsciiWhitespace(line.substr(0, equals)));
    const std::string value = Unquoted(std::string(absl::StripAsciiWhitespace(line.substr(equals + 1))));
    if (const absl::Status status = Set(request, key, value); !status.ok()) {
      ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{});
      detail.where = place;
      return MakeError(status.code(), detail);
    }
  }
  return request;
}

std::optional<absl::Duration> ParseTimeLimit(const std::string& text) {
  if (text == "UNLIMITED" || text == "INFINITE") return absl::InfiniteDuration();
  const size_t dash = text.find('-');
  std::vector<int> parts;
  for (const absl::string_view word :
       absl::StrSplit(text.substr(dash == std::string::npos ? 0 : dash + 1), ':')) {
    int number = 0;
    if (word.empty() || word.size() > 6 || !absl::SimpleAtoi(word, &number) || number < 0)
      return std::nullopt;
    parts.push_back(number);
  }
  if (parts.size() > 3) return std::nullopt;
  int days = 0;
  if (dash != std::string::npos) {
    if (dash > 6 || !absl::SimpleAtoi(text.substr(0, dash), &days) || days < 0) return std::nullopt;
    parts.resize(3);  // hours, minutes, seconds
  } else if (parts.size() < 3) {
    parts.insert(parts.begin(), 0);  // minutes, seconds
    parts.resize(3);
  }
  return absl::Hours(24 * days + parts[0]) + absl::Minutes(parts[1]) + absl::Seconds(parts[2]);
}

std::string SlurmJob::script_path() const {
  const char* part = shape == JobShape::kOneJob        ? ""
                     : shape == JobShape::kCoordinator ? "-coordinator"
                                                       : "-workers";
  return state_dir + "/slurm/" + study_name + part + ".sh";
}

std::string SlurmJob::jobs_path() const {
  return state_dir + "/slurm/" + study_name + ".jobs";
}

absl::StatusOr<std::string> JobScript(const SlurmJob& job) {
  RUNG_RETURN_IF_ERROR(Check(job));
  const SlurmRequest& request = job.request;
  RUNG_ASSIGN_OR_RETURN(const int64_t memory_mib, Mebibytes(request.memory_per_worker));
  const bool one_job = job.shape == JobShape::kOneJob;
  const bool trains = job.shape != JobShape::kCoordinator;
  const int cpus_per_task = request.cpus_per_worker * request.trials_per_gpu;
  std::string head = "#!/bin/bash\n";
  AppendOption(head, "job-name",
               "rung-" + job.study_name +
                   (one_job  ? ""
                    : trains ? "-workers"
                             : "-coordinator"));
  if (job.shape == JobShape::kWorkers) AppendOption(head, "array", absl::StrFormat("0-%d", job.workers - 1));
  AppendOption(head, "ntasks", std::to_string(one_job ? job.workers : 1));
  AppendOption(head, "cpus-per-task", std::to_string(trains ? cpus_per_task : 1));
  if (trains && request.gpus_per_worker > 0) AppendOption(head, "gpus-per-task", GpusPerTask(request));
  if (trains && memory_mib > 0) {
    const int64_t per_cpu = (memory_mib + request.cpus_per_worker - 1) / request.cpus_per_worker;
    AppendOption(head, "mem-per-cpu", std::to_string(per_cpu) + "M");
  }
  AppendOption(head, "partition", request.partition);
  AppendOption(head, "account", request.account);
  AppendOption(head, "qos", request.qos);
  if (trains) AppendOption(head, "constraint", request.constraint);
  AppendOption(head, "time", request.time);
  const char* log = job.shape == JobShape::kWorkers ? "/logs/slurm-%A_%a.log" : "/logs/slurm-%j.log";
  AppendOption(head, "output", "\"" + job.state_dir + log + "\"");
  AppendOption(head, "open-mode", "append");
  AppendOption(head, "signal", absl::StrFormat("B:%s@%d", request.signal, request.warning_seconds));
  head += "#SBATCH --requeue\n\n";
  head += "study=" + ShellQuoted(job.study_name) + "\n";
  head += "state_dir=" + ShellQuoted(job.state_dir) + "\n";
  head += "programs=" + ShellQuoted(job.programs) + "\n";
  head += "image=" + ShellQuoted(request.image) + "\n";
  head += "warning_signal=" + request.signal + "\n";
  head += absl::StrFormat("usr2=%s\n", one_job ? "misfit" : trains ? "leave" : "");
  head += "jobs_file=" + ShellQuoted(job.jobs_path()) + "\n";
  head += absl::StrFormat("idle_minutes=%d\n", request.idle_minutes);
  head += absl::StrFormat("gpus_per_worker=%d\n", trains ? request.gpus_per_worker : 0);
  if (trains) {
    head += absl::StrFormat("trials_per_gpu=%d\n", request.trials_per_gpu);
    head += absl::StrFormat("leave_seconds=%d\n", request.warning_seconds + kLeaveBeforeWarningSeconds);
  }
  if (job.shape != JobShape::kWorkers) head += "lease_ttl=" + ShellQuoted(request.lease_ttl) + "\n";
  if (one_job) {
    head += absl::StrFormat("workers=%d\ncpus_per_task=%d\n", job.workers, cpus_per_task);
    head += absl::StrFormat("after_limit=%s\n", JobWord(job.after_limit));
    // What the workers may take to leave; the rest of the warning is for the coordinator and the requeue.
    head += absl::StrFormat("drain_seconds=%d\n", std::clamp(request.warning_seconds - 60, 20, 300));
  }
  std::string site;
  for (const std::string& module : request.modules) site += "load_module " + ShellQuoted(module) + "\n";
  if (!request.setup.empty())
    site += "can_read " + ShellQuoted(request.setup) + "\n. " + ShellQuoted(request.setup) + "\n";
  const char* body = one_job ? kSlurmJobTemplate : trains ? kSlurmWorkerTemplate : kSlurmCoordinatorTemplate;
  return head + "\n" + kSlurmBeginTemplate + site + "\n" + body;
}

std::vector<std::string> SubmitArguments(const SlurmJob& job, const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"--parsable"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(job.script_path());
  return arguments;
}

std::vector<std::string> TestArguments(const std::string& script) {
  std::vector<std::string> arguments = {"--test-only"};
  for (const absl::string_view line : absl::StrSplit(script, '\n')) {
    absl::string_view option = line;
    if (line.empty()) break;  // the head ends here
    if (absl::ConsumePrefix(&option, "#SBATCH "))
      arguments.push_back(absl::StrReplaceAll(option, {{"\"", ""}}));
  }
  arguments.push_back("--wrap=true");
  return arguments;
}

std::string ShellQuoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

bool IsSettingOfSlurm(const std::string& name) {
  constexpr std::array<const char*, 9> kPrefixes = {"SLURM_",   "SBATCH_",   "SRUN_",  "SQUEUE_",  "SINFO_",
                                                    "SCANCEL_", "SCONTROL_", "SACCT_", "SACCTMGR_"};
  return name != "SLURM_CONF" && std::any_of(kPrefixes.begin(), kPrefixes.end(),
                                             [&](const char* prefix) { return name.rfind(prefix, 0) == 0; });
}

std::vector<std::string> JobEnvironment(const std::vector<std::string>& environment,
                                        const std::vector<std::string>& pass) {
  constexpr std::array<std::string_view, 13> kKept = {
      "PATH",   "HOME",       "USER",       "LOGNAME",    "SHELL",
      "LANG",   "TZ",         "TERM",       "SLURM_CONF", "LD_LIBRARY_PATH",
      "TMPDIR", "MODULEPATH", "MODULESHOME"};
  std::vector<std::string> kept;
  for (const std::string& entry : environment) {
    const std::string name = entry.substr(0, entry.find('='));
    if (IsSettingOfSlurm(name) || name == "CUDA_VISIBLE_DEVICES") continue;
    if (std::find(kKept.begin(), kKept.end(), name) != kKept.end() || name.rfind("LC_", 0) == 0 ||
        std::find(pass.begin(), pass.end(), name) != pass.end()) {
      kept.push_back(entry);
    }
  }
  return kept;
}

}  // namespace rung
