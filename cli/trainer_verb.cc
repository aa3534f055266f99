#include "cli/trainer_verb.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/coordinator_access.h"

namespace rung {
namespace {

constexpr int64_t kMaxOutputBytes = 1 << 20;

// A file of our own that goes with us.
class TemporaryFile {
 public:
  TemporaryFile() {
    const char* directory = std::getenv("TMPDIR");
    path_ = std::string(directory == nullptr ? "/tmp" : directory) + "/rung-trainer-XXXXXX";
    const int descriptor = mkstemp(path_.data());
    if (descriptor >= 0) close(descriptor);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The error that the trainer printed as one JSON object, with the status code that its exit code stands for.
absl::Status ErrorOf(const std::string& output, int exit_code) {
  const std::vector<std::string> lines = absl::StrSplit(output, '\n');
  for (const std::string& line : lines) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("error")) continue;
    const auto& error = object["error"];
    const ErrorDetail detail = {error.value("code", ""), error.value("message", ""), error.value("where", ""),
                                error.value("value", ""), error.value("mend", "")};
    for (const absl::StatusCode code : {absl::StatusCode::kNotFound, absl::StatusCode::kPermissionDenied,
                                        absl::StatusCode::kFailedPrecondition,
                                        absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnavailable}) {
      const absl::Status status = MakeError(code, detail);
      if (ExitCode(status) == exit_code) return status;
    }
    return MakeError(absl::StatusCode::kInternal, detail);
  }
  return MakeError(absl::StatusCode::kInternal,
                   {"E0698", "rung-trainer ended with exit code " + std::to_string(exit_code) + ": " + output,
                    "", "", "Look whether this LibTorch runs here: `rung doctor`"});
}

}  // namespace

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
  if (WIFEXITED(wait_status)) return ErrorOf(text.ok() ? *text : "", WEXITSTATUS(wait_status));
  return MakeError(absl::StatusCode::kInternal, {"E0698", "rung-trainer died: " + ExitText(wait_status), "",
                                                 "", "Look whether this LibTorch runs here: `rung doctor`"});
}

}  // namespace rung
