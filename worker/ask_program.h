// The output of a short-lived program, run without a shell and for a bounded time. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rung {

// argv[0] is looked up in PATH; it gets this process's environment, no input, and its stderr is dropped.
// Errors: NotFound (it cannot be started), DeadlineExceeded (killed after `patience`), Internal (it failed,
// or said more than 64 KiB).
absl::StatusOr<std::string> AskProgram(const std::vector<std::string>& argv, absl::Duration patience);

}  // namespace rung
