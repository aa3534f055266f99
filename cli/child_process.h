// Child processes of `rung`: coordinator and workers. Linux only. Spawn is called from the main thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/status.h"

namespace rung {

struct ChildOptions {
  std::vector<std::string> argv;                                 // argv[0] is the path
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  std::string output_path;  // stdout and stderr are appended here (0600); empty: ours are inherited
  bool truncate_output = false;
  int output_descriptor = -1;    // stdout goes there instead; ours, stays open here
  bool die_with_parent = false;  // SIGTERM when this process dies, however it dies (PR_SET_PDEATHSIG)
};

// Starts a program without a shell, in a process group of its own (so that Ctrl-C reaches only `rung`), with
// default signals and no inherited descriptor but 0, 1, 2. Errors: NotFound (E0694: no such program),
// Internal (E0695).
absl::StatusOr<pid_t> Spawn(const ChildOptions& options);

// Replaces this process; returns only on failure (E0694).
absl::Status Exec(const std::vector<std::string>& argv);

// A program that is installed beside this one: "rungd" -> "/opt/rung/bin/rungd".
std::string BesideThisProgram(const std::string& name);

// What waitpid's status means: "exit 1", "signal 9 (Killed)".
std::string ExitText(int wait_status);

// The last error that a program of ours printed as a JSON object on a line of its own
// (kErrorFormatVariable); nullopt: none.
std::optional<ErrorDetail> PrintedError(const std::string& output);

// The error with the status code that the program's exit code stands for; Internal if none does.
absl::Status ErrorOfExit(const ErrorDetail& detail, int exit_code);

}  // namespace rung
