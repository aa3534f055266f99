#include "cli/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace rung {
namespace {

constexpr int kMaxDescriptors = 65536;  // kept from the child one by one where close_range cannot

absl::Status NoProgram(const std::string& path) {
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0694", "cannot start " + path + ": " + strerror(errno), path, path,
                    "Install Rung's programs in one directory, or build them with `make`"});
}

// Between fork and exec only async-signal-safe calls are allowed: everything is laid out before.
[[noreturn]] void BecomeChild(const ChildOptions& options, char* const* argv, char* const* environment,
                              pid_t parent) {
  setpgid(0, 0);
  if (options.die_with_parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // it died before we asked
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD, SIGUSR1}) signal(number, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, 0);
  if (!options.output_path.empty()) {
    const int flags = O_WRONLY | O_CREAT | O_APPEND | (options.truncate_output ? O_TRUNC : 0) | O_NOFOLLOW;
    const int file = open(options.output_path.c_str(), flags, 0600);
    if (file < 0) _exit(126);
    dup2(file, 1);
    dup2(file, 2);
  }
  if (options.output_descriptor >= 0) dup2(options.output_descriptor, 1);
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {  // a kernel before Linux 5.11
    for (int descriptor = 3; descriptor < kMaxDescriptors; ++descriptor)
      fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  }
  execve(argv[0], argv, environment);
  _exit(127);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const ChildOptions& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : options.environment)
      replaced = replaced || text.rfind(name + "=", 0) == 0;
    if (!replaced) all.push_back(text);
  }
  for (const auto& [name, value] : options.environment) all.push_back(name + "=" + value);
  return all;
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const ChildOptions& options) {
  if (access(options.argv[0].c_str(), X_OK) != 0) return NoProgram(options.argv[0]);
  const std::vector<std::string> environment = Environment(options);
  const std::vector<char*> argv_pointers = Pointers(options.argv);
  const std::vector<char*> environment_pointers = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0695", absl::StrFormat("cannot start a process: %s", strerror(errno)),
                      options.argv[0], "", "End some processes or raise `ulimit -u`"});
  }
  if (child == 0) BecomeChild(options, argv_pointers.data(), environment_pointers.data(), parent);
  return child;
}

absl::Status Exec(const std::vector<std::string>& argv) {
  const std::vector<char*> pointers = Pointers(argv);
  execv(pointers[0], pointers.data());
  return NoProgram(argv[0]);
}

std::string BesideThisProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / name).string();
}

std::string ExitText(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrFormat("signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  }
  return absl::StrFormat("exit %d", WEXITSTATUS(wait_status));
}

std::optional<ErrorDetail> PrintedError(const std::string& output) {
  std::optional<ErrorDetail> printed;
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  for (const std::string& line : lines) {
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("error") || !object["error"].is_object()) continue;
    const nlohmann::json& error = object["error"];
    printed = {error.value("code", ""), error.value("message", ""), error.value("where", ""),
               error.value("value", ""), error.value("mend", "")};
  }
  return printed;
}

absl::Status ErrorOfExit(const ErrorDetail& detail, int exit_code) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kNotFound, absl::StatusCode::kPermissionDenied,
        absl::StatusCode::kFailedPrecondition, absl::StatusCode::kInvalidArgument,
        absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kAborted}) {
    const absl::Status status = MakeError(code, detail);
    if (ExitCode(status) == exit_code) return status;
  }
  return MakeError(absl::StatusCode::kInternal, detail);
}

}  // namespace rung
