#include "worker/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

// A record: "RUNGSPL1", 8 hex digits of the payload's length, 16 hex digits of its sha256, the payload.
constexpr char kMagic[] = "RUNGSPL1";
constexpr size_t kMagicBytes = 8;
constexpr size_t kLengthBytes = 8;
constexpr size_t kHashBytes = 16;
constexpr size_t kHeaderBytes = kMagicBytes + kLengthBytes + kHashBytes;
constexpr int64_t kMaxSpoolBytes = int64_t{64} << 20;

std::string Record(const v1::ReportRequest& report) {
  const std::string payload = report.SerializeAsString();
  return absl::StrFormat("%s%08x%s", kMagic, payload.size(), Sha256Hex(payload).substr(0, kHashBytes)) +
         payload;
}

// The bytes of the first record, 0 if they are none.
size_t ReadRecord(const std::string& bytes, size_t at, v1::ReportRequest& report) {
  if (bytes.size() - at < kHeaderBytes || bytes.compare(at, kMagicBytes, kMagic) != 0) return 0;
  uint32_t length = 0;
  if (!absl::SimpleHexAtoi(bytes.substr(at + kMagicBytes, kLengthBytes), &length)) return 0;
  if (bytes.size() - at - kHeaderBytes < length) return 0;
  const std::string payload = bytes.substr(at + kHeaderBytes, length);
  const std::string hash = bytes.substr(at + kMagicBytes + kLengthBytes, kHashBytes);
  if (Sha256Hex(payload).substr(0, kHashBytes) != hash || !report.ParseFromString(payload)) return 0;
  return kHeaderBytes + length;
}

absl::Status AppendAndSync(const std::string& path, const std::string& bytes) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool stored = file >= 0 &&
                      write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) &&
                      fsync(file) == 0;
  const int error = errno;
  if (file >= 0) close(file);
  if (stored) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInternal,
                   {"E0603", absl::StrFormat("cannot write %s: %s", path, strerror(error)), path, path,
                    "Free some space or make the directory writable"});
}

}  // namespace

absl::StatusOr<Spool> Spool::Open(const std::string& path) {
  Spool spool(path);
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxSpoolBytes);
  if (absl::IsNotFound(bytes.status())) return spool;
  RUNG_RETURN_IF_ERROR(bytes.status());
  size_t at = 0;
  while (at < bytes->size()) {
    v1::ReportRequest report;
    const size_t size = ReadRecord(*bytes, at, report);
    if (size == 0) break;
    spool.reports_.push_back(std::move(report));
    at += size;
  }
  if (at < bytes->size()) {
    spool.damaged_ = true;
    RUNG_RETURN_IF_ERROR(WriteFileAtomic(path + ".damaged", bytes->substr(at)));
    RUNG_RETURN_IF_ERROR(spool.Rewrite());
  }
  return spool;
}

absl::Status Spool::Add(const v1::ReportRequest& report) {
  const bool first = reports_.empty();
  reports_.push_back(report);
  // Behind half a record nothing would be found again.
  const bool whole = first || torn_;
  // The first record makes the file, whose name must last too: WriteFileAtomic syncs the directory.
  const absl::Status stored = whole ? Rewrite() : AppendAndSync(path_, Record(report));
  torn_ = !stored.ok();
  return stored;
}

absl::Status Spool::Remove(const std::string& request_id) {
  const size_t before = reports_.size();
  std::erase_if(reports_, [&](const v1::ReportRequest& report) { return report.request_id() == request_id; });
  return reports_.size() == before ? absl::OkStatus() : Rewrite();
}

absl::Status Spool::Rewrite() const {
  std::string bytes;
  for (const v1::ReportRequest& report : reports_) bytes += Record(report);
  return WriteFileAtomic(path_, bytes);
}

}  // namespace rung
