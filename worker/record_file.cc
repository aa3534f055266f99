#include "worker/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/file.h"

namespace rung {
namespace {

// A record: "RUNGSPL1", 8 hex digits of the payload's length, 16 hex digits of its sha256, the payload.
constexpr char kMagic[] = "RUNGSPL1";
constexpr size_t kMagicBytes = 8;
constexpr size_t kLengthBytes = 8;
constexpr size_t kHashBytes = 16;
constexpr size_t kHeaderBytes = kMagicBytes + kLengthBytes + kHashBytes;

std::string HashOf(const std::string& payload) {
  return Sha256Hex(payload).substr(0, kHashBytes);
}

// The bytes of the record at `at`, 0 if they are none.
size_t ReadRecord(const std::string& bytes, size_t at, std::string& payload) {
  if (bytes.size() - at < kHeaderBytes || bytes.compare(at, kMagicBytes, kMagic) != 0) return 0;
  uint32_t length = 0;
  if (!absl::SimpleHexAtoi(bytes.substr(at + kMagicBytes, kLengthBytes), &length)) return 0;
  if (bytes.size() - at - kHeaderBytes < length) return 0;
  payload = bytes.substr(at + kHeaderBytes, length);
  if (bytes.compare(at + kMagicBytes + kLengthBytes, kHashBytes, HashOf(payload)) != 0) return 0;
  return kHeaderBytes + length;
}

}  // namespace

std::string EncodeRecord(const std::string& payload) {
  return absl::StrFormat("%s%08x%s", kMagic, payload.size(), HashOf(payload)) + payload;
}

size_t DecodeRecords(const std::string& bytes, const std::function<bool(const std::string&)>& take) {
  size_t at = 0;
  std::string payload;
  while (at < bytes.size()) {
    const size_t size = ReadRecord(bytes, at, payload);
    if (size == 0 || !take(payload)) break;
    at += size;
  }
  return at;
}

absl::Status AppendRecord(const std::string& path, const std::string& payload) {
  const std::string bytes = EncodeRecord(payload);
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool stored = file >= 0 &&
                      write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) &&
                      fsync(file) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (stored) return absl::OkStatus();
  return WriteError(path, error);
}

}  // namespace rung
