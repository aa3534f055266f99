#include "cli/trainer_verb.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/coordinator_access.h"

namespace rung {
namespace {

constexpr int64_t kMaxOutputBytes = 1 << 20;

}  // namespace

TemporaryFile::TemporaryFile() {
  const char* directory = std::getenv("TMPDIR");
  path_ = std::string(directory == nullptr ? "/tmp" : directory) + "/rung-trainer-XXXXXX";
  const int descriptor = mkstemp(path_.data());
  if (descriptor >= 0) close(descriptor);
}

TemporaryFile::~TemporaryFile() {
  unlink(path_.c_str());
}

absl::Status RunTrainerVerb(const std::vector<std::string>& arguments) {
  const TemporaryFile output;
  ChildOptions options;
  options.argv = {BesideThisProgram("rung-trainer")};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = {{kErrorFormatVariable, "json"}};
  options.output_path = output.path();
  options.truncate_output = true;
  options.die_with_parent = true;
  RUNG_ASSIGN_OR_RETURN(const pid_t child, Spawn(options));
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return absl::OkStatus();
  const absl::StatusOr<std::string> text = ReadFile(output.path(), kMaxOutputBytes);
  if (WIFEXITED(wait_status)) {
    const std::optional<ErrorDetail> printed = PrintedError(text.value_or(""));
    if (printed.has_value()) return ErrorOfExit(*printed, WEXITSTATUS(wait_status));
    return MakeError(absl::StatusCode::kInternal,
                     {"E0698",
                      "rung-trainer ended with exit code " + std::to_string(WEXITSTATUS(wait_status)) + ": " +
                          text.value_or(""),
                      "", "", "Look whether this LibTorch runs here: `rung doctor`"});
  }
  return MakeError(absl::StatusCode::kInternal, {"E0698", "rung-trainer died: " + ExitText(wait_status), "",
                                                 "", "Look whether this LibTorch runs here: `rung doctor`"});
}

}  // namespace rung
