#include "cli/slurm_tools.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "cli/slurm_job.h"

extern char** environ;

namespace rung {
namespace {

class Pipe {
 public:
  Pipe() { open_ = pipe2(ends_.data(), O_CLOEXEC) == 0; }
  ~Pipe() {
    CloseWriter();
    if (open_) close(ends_[0]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  bool open() const { return open_; }
  int writer() const { return ends_[1]; }
  void CloseWriter() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  std::string ReadToEnd() {
    std::string text;
    std::array<char, 4096> buffer{};
    while (true) {
      const ssize_t count = read(ends_[0], buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return text;
      text.append(buffer.data(), static_cast<size_t>(count));
    }
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
  bool open_ = false;
};

struct SpawnActions {
  SpawnActions() { posix_spawn_file_actions_init(&actions); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t actions;
};

absl::Status SystemError(const std::string& what, int error) {
  return MakeError(absl::StatusCode::kInternal, {"E0804", what + ": " + std::strerror(error), "Slurm", "",
                                                 "Look at `ulimit -n` and `ulimit -u`, then try again"});
}

constexpr char kQueueFormat[] = "%i\t%T\t%R\t%S\t%M\t%l\t%Q\t%F";

// Its last start still ends, and the next one is in the queue: Slurm has set its time back (seen in 22.05).
bool IsRequeued(const QueuedJob& job) {
  return job.state == "COMPLETING" && job.elapsed == "0:00";
}

}  // namespace

absl::StatusOr<std::string> RunSlurmTool(const std::vector<std::string>& argv_in,
                                         const std::vector<std::string>& environment) {
  std::vector<std::string> words = argv_in;
  std::vector<std::string> variables = environment;
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  Pipe out, error;
  if (!out.open() || !error.open()) return SystemError("no pipe to " + words[0], errno);
  SpawnActions actions;
  posix_spawn_file_actions_addopen(&actions.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions.actions, out.writer(), 1);
  posix_spawn_file_actions_adddup2(&actions.actions, error.writer(), 2);
  pid_t child = 0;
  const int spawned = posix_spawnp(&child, argv[0], &actions.actions, nullptr, argv.data(), envp.data());
  if (spawned == ENOENT) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0803", "there is no " + words[0] + " in PATH", words[0], "",
                      "Run this on a login node of the cluster, or use `rung run` here"});
  }
  if (spawned != 0) return SystemError(words[0] + " cannot be started", spawned);
  out.CloseWriter();
  error.CloseWriter();
  const std::string answer = out.ReadToEnd();
  const std::string complaint = error.ReadToEnd();  // fits into a pipe's 64 KiB
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return answer;
  const std::string said =
      absl::StrReplaceAll(absl::StripAsciiWhitespace(complaint), {{"\r", ""}, {"\n", "; "}});
  const bool alone = absl::StrContains(said, "configuration source") || absl::StrContains(said, "contact");
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"E0804", words[0] + " refused: " + said, words[0], absl::StrJoin(argv_in, " "),
       words[0] == "sbatch" && !alone
           ? "Set what this cluster wants: --partition, --account, --time, --gpus-per-worker (0: none), or "
             "cluster.env in the state directory; `rung slurm doctor` shows what it has"
           : "Look whether the controller answers: `rung slurm doctor`"});
}

absl::StatusOr<std::string> RunSlurmTool(const std::vector<std::string>& argv) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!IsSettingOfSlurm(text.substr(0, text.find('=')))) environment.push_back(text);
  }
  return RunSlurmTool(argv, environment);
}

absl::StatusOr<int64_t> SubmitScript(const std::vector<std::string>& arguments,
                                     const std::vector<std::string>& environment) {
  std::vector<std::string> argv = {"sbatch"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  RUNG_ASSIGN_OR_RETURN(const std::string answer, RunSlurmTool(argv, environment));
  int64_t job = 0;
  if (absl::SimpleAtoi(answer.substr(0, answer.find_first_of(";\n")), &job)) return job;
  return MakeError(absl::StatusCode::kInternal,
                   {"E0804", "sbatch answered no job number", "sbatch", answer, "Look with `squeue --me`"});
}

std::vector<QueuedJob> ParseQueue(const std::string& text) {
  std::vector<QueuedJob> jobs;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() < 8) continue;
    QueuedJob job;
    job.id = fields[0];
    job.state = fields[1];
    job.reason = fields[2];
    job.start = fields[3];
    job.elapsed = fields[4];
    job.limit = fields[5];
    if (!absl::SimpleAtoi(fields[6], &job.priority)) job.priority = 0;
    // %F is the array's number, of a single job its own.
    if (!absl::SimpleAtoi(fields[7], &job.number)) continue;
    jobs.push_back(std::move(job));
  }
  return jobs;
}

bool Waits(const QueuedJob& job) {
  return job.state == "PENDING" || job.state == "REQUEUED" || job.state == "REQUEUE_HOLD" || IsRequeued(job);
}

bool IsOver(const QueuedJob& job) {
  constexpr std::array<const char*, 9> kEnds = {"COMPLETED", "CANCELLED", "FAILED",
                                                "TIMEOUT",   "NODE_FAIL", "OUT_OF_MEMORY",
                                                "PREEMPTED", "DEADLINE",  "BOOT_FAIL"};
  return std::find(kEnds.begin(), kEnds.end(), job.state) != kEnds.end() ||
         (job.state == "COMPLETING" && !IsRequeued(job));
}

std::vector<QueuedJob> InOrderOfLeaving(std::vector<QueuedJob> jobs) {
  std::stable_sort(jobs.begin(), jobs.end(), [](const QueuedJob& a, const QueuedJob& b) {
    if (Waits(a) != Waits(b)) return Waits(a);
    return !Waits(a) && a.start > b.start;
  });
  return jobs;
}

absl::StatusOr<std::vector<QueuedJob>> FindInQueue(const std::vector<int64_t>& jobs) {
  if (jobs.empty()) return std::vector<QueuedJob>{};
  // By user, not by number: squeue fails as a whole where it has forgotten one of the numbers.
  RUNG_ASSIGN_OR_RETURN(const std::string text,
                        RunSlurmTool({"squeue", "--me", "--noheader", "--array", "--states=all",
                                      std::string("--format=") + kQueueFormat}));
  std::vector<QueuedJob> found;
  for (QueuedJob& job : ParseQueue(text)) {
    const bool wanted = std::find(jobs.begin(), jobs.end(), job.number) != jobs.end();
    if (wanted && !IsOver(job)) found.push_back(std::move(job));
  }
  return found;
}

absl::Status EndJobs(const std::vector<QueuedJob>& jobs, const std::string& signal) {
  std::vector<std::pair<QueuedJob, absl::Status>> failed;
  for (const QueuedJob& job : jobs) {
    std::vector<std::string> argv = {"scancel"};
    // One that is suspended hears no signal.
    if (!Waits(job) && job.state != "SUSPENDED") argv.insert(argv.end(), {"--batch", "--signal=" + signal});
    argv.push_back(job.id);
    if (const absl::Status status = RunSlurmTool(argv).status(); !status.ok())
      failed.emplace_back(job, status);
  }
  std::vector<int64_t> numbers;
  for (const auto& [job, unused] : failed) numbers.push_back(job.number);
  const absl::StatusOr<std::vector<QueuedJob>> left = FindInQueue(numbers);
  for (const auto& [job, status] : failed) {
    const bool gone =
        left.ok() && std::none_of(left->begin(), left->end(),
                                  [&, id = job.id](const QueuedJob& each) { return each.id == id; });
    if (!gone) return status;
  }
  return absl::OkStatus();
}

}  // namespace rung
