#include "worker/point_journal.h"

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
  DecodeRecords(*bytes, [this](const std::string& payload) {
    v1::ProgressRequest message;
    if (!message.ParseFromString(payload)) return false;
    left_.push_back(std::move(message));
    return true;
  });
  bytes_ = static_cast<int64_t>(bytes->size());
}

absl::Status PointJournal::Add(const v1::ProgressRequest& message) {
  if (full()) return absl::OkStatus();
  const std::string payload = message.SerializeAsString();
  bytes_ += static_cast<int64_t>(payload.size());
  return AppendRecord(path_, payload);
}

absl::Status PointJournal::Replace(const std::vector<v1::ProgressRequest>& messages) {
  Clear();
  if (messages.empty()) return absl::OkStatus();
  std::string bytes;
  for (const v1::ProgressRequest& message : messages) {
    if (static_cast<int64_t>(bytes.size()) >= kMaxPointJournalBytes) break;
    bytes += EncodeRecord(message.SerializeAsString());
  }
  bytes_ = static_cast<int64_t>(bytes.size());
  return WriteFileAtomic(path_, bytes);
}

void PointJournal::Clear() {
  if (bytes_ > 0) unlink(path_.c_str());
  bytes_ = 0;
  left_.clear();
}

}  // namespace rung
