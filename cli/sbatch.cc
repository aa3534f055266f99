#include "cli/sbatch.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

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
  return MakeError(absl::StatusCode::kInternal,
                   {"E0804", what + ": " + std::strerror(error), "sbatch", "",
                    "Try again; `rung slurm submit --dry-run` shows the script"});
}

}  // namespace

absl::StatusOr<int64_t> SubmitScript(const std::string& script_path,
                                     const std::vector<std::string>& environment) {
  std::vector<std::string> words = {"sbatch", "--parsable", script_path};
  std::vector<std::string> variables = environment;
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  Pipe out, error;
  if (!out.open() || !error.open()) return SystemError("no pipe for sbatch", errno);
  SpawnActions actions;
  posix_spawn_file_actions_addopen(&actions.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions.actions, out.writer(), 1);
  posix_spawn_file_actions_adddup2(&actions.actions, error.writer(), 2);
  pid_t child = 0;
  const int spawned = posix_spawnp(&child, "sbatch", &actions.actions, nullptr, argv.data(), envp.data());
  if (spawned == ENOENT) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0803", "there is no sbatch in PATH", "sbatch", "",
                      "Run this on a login node of the cluster, or use `rung run` here"});
  }
  if (spawned != 0) return SystemError("sbatch cannot be started", spawned);
  out.CloseWriter();
  error.CloseWriter();
  const std::string answer = out.ReadToEnd();  // both fit into a pipe's 64 KiB
  const std::string complaint = error.ReadToEnd();
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
    const std::string said(absl::StripAsciiWhitespace(complaint));
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0804", "sbatch refused the job: " + said, script_path, "",
         "Set what this cluster wants: --partition, --account, --time, --gpus-per-worker (0: none), "
         "or cluster.env in the state directory"});
  }
  int64_t job = 0;
  if (!absl::SimpleAtoi(answer.substr(0, answer.find_first_of(";\n")), &job)) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0804", "sbatch answered no job number", "sbatch", answer, "Look with `squeue --me`"});
  }
  return job;
}

}  // namespace rung
