// Metric points and checkpoints that no coordinator has acknowledged, on disk while there is no coordinator:
// what a worker that dies in an outage had to say. Not thread-safe: CoordinatorLink guards it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/rung/v1/rung.pb.h"

namespace rung {

inline constexpr int64_t kMaxPointJournalBytes = int64_t{16} << 20;  // beyond it: in memory only

class PointJournal {
 public:
  // Reads what an earlier process left; bytes that are no record, and what follows them, are given up.
  explicit PointJournal(std::string path);

  // Stored on return unless the journal is full. Errors as WriteError (E0603): kept in memory only.
  absl::Status Add(const v1::ProgressRequest& message);
  // Holds these and nothing else, oldest first; what is beyond the limit is left out. Errors as Add.
  absl::Status Replace(const std::vector<v1::ProgressRequest>& messages);
  // All is acknowledged: removes the file, if there is one.
  void Clear();

  // Of the earlier process, with its worker name and instance, in the order in which they were said.
  const std::vector<v1::ProgressRequest>& left() const { return left_; }
  bool full() const { return bytes_ >= kMaxPointJournalBytes; }

 private:
  const std::string path_;
  std::vector<v1::ProgressRequest> left_;
  int64_t bytes_ = 0;  // of whole records in the file
  bool torn_ = false;  // the file may go on with half a record
};

}  // namespace rung
