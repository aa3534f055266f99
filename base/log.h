// Structured log: one JSON object a line, UTC, to stderr or to a file opened with O_APPEND.
// Thread-safe. Never give it a token or a key.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

namespace rung {

enum class LogLevel { kInfo, kWarning, kError };

class Log {
 public:
  // role: "rungd", "worker-0", ...; written into every line. The clock must outlive the log.
  Log(std::string role, Clock& clock);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // From now on lines go to this file (0600, appended). Errors: NotFound, PermissionDenied, Internal (E0601).
  absl::Status OpenFile(const std::string& path);

  // {"at": ..., "level": ..., "role": ..., "event": event, key: value, ...}; event is a short snake_case
  // name.
  void Write(LogLevel level, const std::string& event,
             const std::vector<std::pair<std::string, std::string>>& fields = {});

 private:
  const std::string role_;
  Clock& clock_;
  int descriptor_ = 2;
};

}  // namespace rung
