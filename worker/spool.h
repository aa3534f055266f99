// The worker's journal of reports that no coordinator has answered yet: fsynced before anything relies on it,
// read again by the next process of the same name. A torn last record is dropped: its writer never knew it as
// stored. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/rung/v1/rung.pb.h"

namespace rung {

class Spool {
 public:
  // Reads what an earlier process left. Bytes that are no record end the reading and are kept beside it as
  // PATH.damaged. Errors: those of reading and writing files (E0602, E0603).
  static absl::StatusOr<Spool> Open(const std::string& path);

  // Stored on return. Errors as for writing a file (E0603): the report is then kept in memory only.
  absl::Status Add(const v1::ReportRequest& report);
  // Drops the report with this request_id; nothing happens if there is none.
  absl::Status Remove(const std::string& request_id);

  const std::vector<v1::ReportRequest>& reports() const { return reports_; }
  bool damaged() const { return damaged_; }

 private:
  explicit Spool(std::string path) : path_(std::move(path)) {}
  absl::Status Rewrite() const;

  std::string path_;
  std::vector<v1::ReportRequest> reports_;
  bool torn_ = false;  // the file may end in half a record
  bool damaged_ = false;
};

}  // namespace rung
