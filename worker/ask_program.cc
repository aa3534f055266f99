#include "worker/ask_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "base/clock.h"

extern char** environ;

namespace rung {
namespace {

constexpr size_t kMaxAnswerBytes = 64 * 1024;

// Reads to the end; false if `until` passed or it was too much.
bool ReadAll(int descriptor, absl::Duration until, std::string* text) {
  SystemClock clock;
  std::array<char, 4096> buffer;
  while (text->size() <= kMaxAnswerBytes) {
    const absl::Duration left = std::max(until - clock.Steady(), absl::ZeroDuration());
    pollfd event = {descriptor, POLLIN, 0};
    const int ready = poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t n = read(descriptor, buffer.data(), buffer.size());
    if (n == 0) return true;
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) text->append(buffer.data(), static_cast<size_t>(n));
  }
  return false;
}

// Without the signals that this process blocks.
int Spawn(const std::vector<std::string>& argv, int output, pid_t* pid) {
  std::vector<char*> pointers;
  for (const std::string& text : argv) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = posix_spawnp(pid, pointers[0], &actions, &attributes, pointers.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

absl::StatusOr<std::string> AskProgram(const std::vector<std::string>& argv, absl::Duration patience) {
  SystemClock clock;
  const absl::Duration until = clock.Steady() + patience;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return absl::InternalError(strerror(errno));
  pid_t pid = 0;
  const int error = Spawn(argv, ends[1], &pid);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return absl::NotFoundError(absl::StrFormat("cannot start %s: %s", argv[0], strerror(error)));
  }
  std::string text;
  const bool whole = ReadAll(ends[0], until, &text);
  close(ends[0]);
  if (!whole) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!whole && text.size() <= kMaxAnswerBytes)
    return absl::DeadlineExceededError(absl::StrFormat("%s did not answer", argv[0]));
  if (!whole || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return absl::InternalError(absl::StrFormat("%s failed", argv[0]));
  return text;
}

}  // namespace rung
