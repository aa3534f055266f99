#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

// -1: errno says why.
int OpenToAppend(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

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

absl::Status Log::OpenFile(const std::string& path, int64_t max_bytes) {
  const int descriptor = OpenToAppend(path);
  if (descriptor < 0) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0601", absl::StrFormat("cannot open the log: %s", strerror(errno)), path, "",
                      "Make the directory writable"});
  }
  if (descriptor_ != 2) close(descriptor_);
  descriptor_ = descriptor;
  path_ = path;
  max_bytes_ = max_bytes;
  return absl::OkStatus();
}

// Another process that writes to a full file at this moment writes into PATH.1: no line is lost. Several may
// find it full: one of them renames it, and none waits for another, which may be frozen. What cannot be done
// now is tried again with the next line.
void Log::BeginNewFileIfFull() {
  struct stat ours {};
  if (fstat(descriptor_, &ours) != 0 || ours.st_size < max_bytes_) return;
  const Descriptor there(OpenToAppend(path_));
  if (there.get() < 0 || flock(there.get(), LOCK_EX | LOCK_NB) != 0) return;
  struct stat locked {};
  struct stat named {};
  if (fstat(there.get(), &locked) != 0 || stat(path_.c_str(), &named) != 0) return;
  if (locked.st_ino != named.st_ino) return;       // another has just renamed it
  const bool full = locked.st_size >= max_bytes_;  // else another has begun a new one
  if (full && rename(path_.c_str(), (path_ + ".1").c_str()) != 0) return;
  const Descriptor begun(OpenToAppend(path_));  // not the locked one: the lock would stay with it
  if (begun.get() >= 0) dup3(begun.get(), descriptor_, O_CLOEXEC);
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
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!path_.empty()) BeginNewFileIfFull();
  // One write call: lines of several processes never mix in an O_APPEND file.
  [[maybe_unused]] const ssize_t written = write(descriptor_, text.data(), text.size());
}

}  // namespace rung
