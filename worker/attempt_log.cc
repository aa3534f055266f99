#include "worker/attempt_log.h"

#include <fcntl.h>
#include <unistd.h>

namespace rung {

AttemptLog::AttemptLog(const std::string& path)
    : descriptor_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600)) {}

AttemptLog::~AttemptLog() {
  if (descriptor_ >= 0) close(descriptor_);
}

void AttemptLog::Add(const char* bytes, size_t size) {
  if (written_ > kMaxLogBytes) return;
  written_ += static_cast<int64_t>(size);
  [[maybe_unused]] ssize_t n = write(descriptor_, bytes, size);
  if (written_ > kMaxLogBytes) {
    const std::string note = "\n[rung-worker: the rest of this output is dropped]\n";
    n = write(descriptor_, note.data(), note.size());
  }
}

void AttemptLog::AddError(const char* bytes, size_t size) {
  Add(bytes, size);
  tail_.append(bytes, size);
  if (tail_.size() > kLogTailBytes) tail_.erase(0, tail_.size() - kLogTailBytes);
}

std::string AttemptLog::Tail() const {
  std::string text;
  for (const char c : tail_) {
    if (c == '\n' || static_cast<unsigned char>(c) >= 0x20) text += c;
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace rung
