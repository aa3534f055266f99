#include "worker/spool.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "worker/record_file.h"

namespace rung {
namespace {

constexpr int64_t kMaxSpoolBytes = int64_t{64} << 20;

}  // namespace

absl::StatusOr<Spool> Spool::Open(const std::string& path) {
  Spool spool(path);
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxSpoolBytes);
  if (absl::IsNotFound(bytes.status())) return spool;
  RUNG_RETURN_IF_ERROR(bytes.status());
  const size_t at = DecodeRecords(*bytes, [&spool](const std::string& payload) {
    v1::ReportRequest report;
    if (!report.ParseFromString(payload)) return false;
    spool.reports_.push_back(std::move(report));
    return true;
  });
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
  const absl::Status stored = whole ? Rewrite() : AppendRecord(path_, report.SerializeAsString());
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
  for (const v1::ReportRequest& report : reports_) bytes += EncodeRecord(report.SerializeAsString());
  return WriteFileAtomic(path_, bytes);
}

}  // namespace rung
