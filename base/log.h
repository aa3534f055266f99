// Structured log: one JSON object a line, UTC, to stderr or to a file opened with O_APPEND.
// Thread-safe. Never give it a token or a key.
#pragma once

#include <cstdint>
#include <mutex>
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

  static constexpr int64_t kMaxFileBytes = int64_t{64} << 20;

  // From now on lines go to this file (0600, appended). Once it has max_bytes it becomes PATH.1, in the place
  // of an older one, and a new file is begun: the last max_bytes are there, and hardly more than twice that.
  // Several processes may write into one file. Before other threads write. Errors: Internal (E0601).
  absl::Status OpenFile(const std::string& path, int64_t max_bytes = kMaxFileBytes);

  // {"at": ..., "level": ..., "role": ..., "event": event, key: value, ...}; event is a short snake_case
  // name.
  void Write(LogLevel level, const std::string& event,
             const std::vector<std::pair<std::string, std::string>>& fields = {});

 private:
  void BeginNewFileIfFull();

  const std::string role_;
  Clock& clock_;
  std::string path_;  // empty: stderr
  int64_t max_bytes_ = 0;
  int descriptor_ = 2;  // the number stays; the file behind it is guarded by mutex_
  std::mutex mutex_;
};

}  // namespace rung
