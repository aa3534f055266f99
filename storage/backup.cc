#include "storage/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "storage/schema.h"

namespace rung {
namespace {

constexpr int kWholePages = 1 << 14;

absl::Status Exists(const std::string& path) {
  return MakeError(absl::StatusCode::kAlreadyExists,
                   {"E0510", "there is a file of this name already", path, path, "Give another name"});
}

absl::Status Damaged(const std::string& path, const std::string& what) {
  return MakeError(absl::StatusCode::kDataLoss, {"E0502", "the database is damaged: " + what, path, what,
                                                 "Use another copy: they lie in backups/"});
}

// The first row's text; empty where there is none.
absl::StatusOr<std::string> FirstText(Sqlite& database, const std::string& sql) {
  RUNG_ASSIGN_OR_RETURN(Statement rows, database.Prepare(sql));
  RUNG_ASSIGN_OR_RETURN(const bool row, rows.Step());
  return row ? rows.Text(0) : std::string();
}

int64_t SizeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? int64_t{info.st_size} : -1;
}

// `from` becomes `to`, whatever a crash leaves of it.
absl::Status Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return WriteError(to, errno);
  return SyncParent(to);
}

}  // namespace

absl::StatusOr<DatabaseFacts> VerifyDatabase(const std::string& path) {
  DatabaseFacts facts;
  facts.bytes = SizeOf(path);
  if (facts.bytes < 0) {
    return MakeError(absl::StatusCode::kNotFound, {"E0508", "there is no such file", path, path,
                                                   "The copies of a state directory lie in its backups/"});
  }
  if (SizeOf(path + "-wal") > 0) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"E0509", "this database is in use, or was when it was copied by hand", path + "-wal",
                      path, "Take a copy with: rung backup create"});
  }
  RUNG_ASSIGN_OR_RETURN(Sqlite database, Sqlite::OpenReadOnly(path));
  RUNG_ASSIGN_OR_RETURN(const int64_t application, database.Integer("PRAGMA application_id"));
  if (application != kApplicationId) return Damaged(path, "it is none of Rung's");
  RUNG_ASSIGN_OR_RETURN(facts.schema, database.Integer("PRAGMA user_version"));
  if (facts.schema > kSchemaVersion) return NewerSchema(path, facts.schema);
  RUNG_ASSIGN_OR_RETURN(const std::string pages, FirstText(database, "PRAGMA integrity_check(1)"));
  if (pages != "ok") return Damaged(path, pages);
  RUNG_ASSIGN_OR_RETURN(const std::string orphan, FirstText(database, "PRAGMA foreign_key_check"));
  if (!orphan.empty()) return Damaged(path, "a row of " + orphan + " belongs to none");
  RUNG_ASSIGN_OR_RETURN(facts.studies, database.Integer("SELECT count(*) FROM study"));
  RUNG_ASSIGN_OR_RETURN(facts.events, database.Integer("SELECT count(*) FROM event"));
  return facts;
}

absl::StatusOr<std::unique_ptr<DatabaseCopy>> DatabaseCopy::Begin(Sqlite& from, const std::string& path,
                                                                  Existing existing) {
  if (existing == Existing::kRefuse && SizeOf(path) >= 0) return Exists(path);
  std::unique_ptr<DatabaseCopy> copy(new DatabaseCopy(from, path, existing));
  unlink(copy->part_.c_str());  // of a process that was killed
  const int descriptor =
      open(copy->part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return WriteError(copy->part_, errno);
  close(descriptor);
  RUNG_ASSIGN_OR_RETURN(Sqlite to, Sqlite::OpenForCopy(copy->part_));
  copy->to_ = std::make_unique<Sqlite>(std::move(to));
  copy->backup_ = sqlite3_backup_init(copy->to_->connection_, "main", from.connection_, "main");
  if (copy->backup_ == nullptr) return copy->to_->Error(sqlite3_errcode(copy->to_->connection_));
  return copy;
}

DatabaseCopy::~DatabaseCopy() {
  sqlite3_backup_finish(backup_);
  to_ = nullptr;
  unlink(part_.c_str());
}

absl::StatusOr<bool> DatabaseCopy::Step(int pages) {
  RUNG_CHECK(backup_ != nullptr, "a copy has one end");
  const int code = sqlite3_backup_step(backup_, pages);
  if (code == SQLITE_OK) return false;
  sqlite3_backup_finish(std::exchange(backup_, nullptr));
  if (code != SQLITE_DONE) return to_->Error(code);
  return true;
}

absl::StatusOr<DatabaseFacts> DatabaseCopy::Finish() {
  RUNG_CHECK(backup_ == nullptr && to_ != nullptr, "all pages are there");
  // The copied header still asks for a write-ahead log.
  RUNG_RETURN_IF_ERROR(to_->Execute("PRAGMA journal_mode=DELETE"));
  to_ = nullptr;
  {
    const Descriptor file(open(part_.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0 || fsync(file.get()) != 0) return WriteError(part_, errno);
  }
  RUNG_ASSIGN_OR_RETURN(const DatabaseFacts facts, VerifyDatabase(part_));
  if (existing_ == Existing::kReplace) {
    RUNG_RETURN_IF_ERROR(Rename(part_, path_));
    return facts;
  }
  if (link(part_.c_str(), path_.c_str()) != 0)
    return errno == EEXIST ? Exists(path_) : WriteError(path_, errno);
  RUNG_RETURN_IF_ERROR(SyncParent(path_));
  return facts;
}

absl::StatusOr<DatabaseFacts> CopyDatabase(Sqlite& from, const std::string& path,
                                           DatabaseCopy::Existing existing) {
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<DatabaseCopy> copy, DatabaseCopy::Begin(from, path, existing));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool whole, copy->Step(kWholePages));
    if (whole) return copy->Finish();
  }
}

absl::StatusOr<DatabaseFacts> RestoreDatabase(const std::string& backup, const std::string& database,
                                              const std::string& kept) {
  RUNG_RETURN_IF_ERROR(VerifyDatabase(backup).status());
  RUNG_ASSIGN_OR_RETURN(Sqlite from, Sqlite::OpenReadOnly(backup));
  const std::string restored = database + ".restored";
  RUNG_ASSIGN_OR_RETURN(const DatabaseFacts facts,
                        CopyDatabase(from, restored, DatabaseCopy::Existing::kReplace));
  if (SizeOf(database) >= 0) {
    // Opening and closing it moves its write-ahead log into it; that of a damaged one is kept beside it. It
    // must not be there when another database takes the name.
    Sqlite::Open(database).status().IgnoreError();
    if (SizeOf(database + "-wal") >= 0) RUNG_RETURN_IF_ERROR(Rename(database + "-wal", kept + "-wal"));
    if (link(database.c_str(), kept.c_str()) != 0) return WriteError(kept, errno);
  }
  RUNG_RETURN_IF_ERROR(Rename(restored, database));
  return facts;
}

}  // namespace rung
