// The log of one attempt: what its trainer prints, bounded; and the last words on stderr, for the message of
// a crash. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace rung {

inline constexpr size_t kLogTailBytes = 2048;
inline constexpr int64_t kMaxLogBytes = int64_t{256} << 20;

class AttemptLog {
 public:
  // What cannot be written (no such directory, a full disk) is dropped: a log never ends an attempt.
  explicit AttemptLog(const std::string& path);
  ~AttemptLog();
  AttemptLog(const AttemptLog&) = delete;
  AttemptLog& operator=(const AttemptLog&) = delete;

  void Add(const char* bytes, size_t size);
  void AddError(const char* bytes, size_t size);

  // The last kLogTailBytes of stderr without control characters, as one text.
  std::string Tail() const;

 private:
  const int descriptor_;
  int64_t written_ = 0;
  std::string tail_;
};

}  // namespace rung
