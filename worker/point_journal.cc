#include "worker/point_journal.h"

#include <errno.h>
#include <unistd.h>

#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "worker/record_file.h"

namespace rung {

PointJournal::PointJournal(std::string path) : path_(std::move(path)) {
  // Room for one message above the limit.
  const absl::StatusOr<std::string> bytes = ReadFile(path_, 2 * kMaxPointJournalBytes);
  if (!bytes.ok()) return;
  const size_t whole = DecodeRecords(*bytes, [this](const std::string& payload) {
    v1::ProgressRequest message;
    if (!message.ParseFromString(payload)) return false;
    left_.push_back(std::move(message));
    return true;
  });
  bytes_ = static_cast<int64_t>(whole);
  torn_ = whole < bytes->size();
}

absl::Status PointJournal::Add(const v1::ProgressRequest& message) {
  if (full()) return absl::OkStatus();
  // Behind half a record nothing would be found again.
  if (torn_ && truncate(path_.c_str(), bytes_) != 0 && errno != ENOENT) return WriteError(path_, errno);
  const std::string payload = message.SerializeAsString();
  const absl::Status stored = AppendRecord(path_, payload);
  torn_ = !stored.ok();
  if (stored.ok()) bytes_ += static_cast<int64_t>(EncodeRecord(payload).size());
  return stored;
}

absl::Status PointJournal::Replace(const std::vector<v1::ProgressRequest>& messages) {
  if (messages.empty()) {
    Clear();
    return absl::OkStatus();
  }
  std::string bytes;
  for (const v1::ProgressRequest& message : messages) {
    if (static_cast<int64_t>(bytes.size()) >= kMaxPointJournalBytes) break;
    bytes += EncodeRecord(message.SerializeAsString());
  }
  // In one step: kill -9 at any moment leaves the old ones or the new ones.
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(path_, bytes));
  left_.clear();
  bytes_ = static_cast<int64_t>(bytes.size());
  torn_ = false;
  return absl::OkStatus();
}

void PointJournal::Clear() {
  if (bytes_ > 0 || torn_) unlink(path_.c_str());
  bytes_ = 0;
  torn_ = false;
  left_.clear();
}

}  // namespace rung
