#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "?";
}

}  // namespace

Log::Log(std::string role, Clock& clock) : role_(std::move(role)), clock_(clock) {}

Log::~Log() {
  if (descriptor_ != 2) close(descriptor_);
}

absl::Status Log::OpenFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0601", absl::StrFormat("cannot open the log: %s", strerror(errno)), path, "",
                      "Make the directory writable"});
  }
  if (descriptor_ != 2) close(descriptor_);
  descriptor_ = descriptor;
  return absl::OkStatus();
}

void Log::Write(LogLevel level, const std::string& event,
                const std::vector<std::pair<std::string, std::string>>& fields) {
  nlohmann::ordered_json line;
  line["at"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", clock_.Now(), absl::UTCTimeZone());
  line["level"] = LevelName(level);
  line["role"] = role_;
  line["event"] = event;
  for (const auto& [key, value] : fields) line[key] = value;
  std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text += '\n';
  // One write call: lines of several threads and processes never mix in an O_APPEND file.
  [[maybe_unused]] const ssize_t written = write(descriptor_, text.data(), text.size());
}

}  // namespace rung
