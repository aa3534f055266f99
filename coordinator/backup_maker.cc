#include "coordinator/backup_maker.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "storage/backup.h"

namespace rung {
BackupMaker::~BackupMaker() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void BackupMaker::Make(const StateDir& dir, const std::string& path, Done done) {
  if (!path.empty() && path[0] != '/') {
    return done(MakeError(absl::StatusCode::kInvalidArgument,
                          {"E0512", "the path of a backup is not absolute", "", path, "Write it from / on"}));
  }
  const std::string name =
      absl::FormatTime("/backups/rung-%Y%m%dT%H%M%E3SZ.db", clock_.Now(), absl::UTCTimeZone());
  const std::lock_guard<std::mutex> guard(mutex_);
  if (busy_) {
    return done(MakeError(absl::StatusCode::kFailedPrecondition,
                          {"E0511", "a backup is being made already", dir.root, "", "Wait for its end"}));
  }
  if (thread_.joinable()) thread_.join();
  busy_ = true;
  thread_ = std::thread([this, to = path.empty() ? dir.root + name : path, done = std::move(done)] {
    absl::StatusOr<v1::CreateBackupResponse> made = Copy(to);
    {
      const std::lock_guard<std::mutex> ended(mutex_);
      busy_ = false;
    }
    done(std::move(made));
  });
}

absl::StatusOr<v1::CreateBackupResponse> BackupMaker::Copy(const std::string& path) {
  std::unique_ptr<DatabaseCopy> copy;
  absl::Status status = absl::OkStatus();
  bool whole = false;
  while (status.ok() && !whole) {
    loop_.NoteCall();  // one that was started for this call stays as long
    const bool ran = loop_.Run([&](const Core&, StudyStore& store) {
      status = stopping_ ? CoreLoop::StoppedError() : loop_.unavailable();
      if (status.ok() && copy == nullptr) {
        absl::StatusOr<std::unique_ptr<DatabaseCopy>> begun = store.BeginCopy(path);
        status = begun.status();
        if (begun.ok()) copy = *std::move(begun);
      }
      if (status.ok()) {
        const absl::StatusOr<bool> step = copy->Step(kPagesAtOnce);
        status = step.status();
        whole = step.ok() && *step;
      }
      if (!status.ok()) copy = nullptr;  // it belongs to this thread
    });
    if (!ran) status = CoreLoop::StoppedError();  // the loop's thread is gone: nobody else uses the database
  }
  RUNG_RETURN_IF_ERROR(status);
  RUNG_ASSIGN_OR_RETURN(const DatabaseFacts facts, copy->Finish());
  v1::CreateBackupResponse response;
  response.set_path(path);
  response.set_schema_version(facts.schema);
  response.set_studies(facts.studies);
  response.set_events(facts.events);
  response.set_size_bytes(facts.bytes);
  return response;
}

}  // namespace rung
