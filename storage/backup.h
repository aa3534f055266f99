// Copies of a database, taken while it is in use, and what says whether one is whole.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/sqlite.h"

struct sqlite3_backup;

namespace rung {

struct DatabaseFacts {
  int64_t schema = 0;
  int64_t studies = 0;
  int64_t events = 0;
  int64_t bytes = 0;
};

// Looks at every page, index and foreign key of a file that nobody writes. Errors: NotFound (E0508: no such
// file), DataLoss (E0502: damaged, or none of Rung's), FailedPrecondition (E0501: made by a newer version;
// E0509: a write-ahead log lies beside it, so it is no copy but in use).
absl::StatusOr<DatabaseFacts> VerifyDatabase(const std::string& path);

// One copy: as PATH.part, 0600, until it is whole. Begin, Step and the destructor belong to the thread of the
// database.
class DatabaseCopy {
 public:
  enum class Existing { kRefuse, kReplace };

  // Errors: AlreadyExists (E0510: there is such a file), those of the file system (E0603) and of SQLite.
  static absl::StatusOr<std::unique_ptr<DatabaseCopy>> Begin(Sqlite& from, const std::string& path,
                                                             Existing existing = Existing::kRefuse);
  // Removes what is not finished.
  ~DatabaseCopy();
  DatabaseCopy(const DatabaseCopy&) = delete;
  DatabaseCopy& operator=(const DatabaseCopy&) = delete;

  // So many pages more; true: all are there. In between the database may be written through `from`: the copy
  // follows.
  absl::StatusOr<bool> Step(int pages);

  // After the last step, on any thread: synced, verified, and only then given its name. Errors: those of
  // VerifyDatabase, AlreadyExists (E0510).
  absl::StatusOr<DatabaseFacts> Finish();

 private:
  DatabaseCopy(Sqlite& from, std::string path, Existing existing)
      : from_(from), path_(std::move(path)), part_(path_ + ".part"), existing_(existing) {}

  Sqlite& from_;
  const std::string path_, part_;
  const Existing existing_;
  std::unique_ptr<Sqlite> to_;
  sqlite3_backup* backup_ = nullptr;
};

// All steps at once.
absl::StatusOr<DatabaseFacts> CopyDatabase(Sqlite& from, const std::string& path,
                                           DatabaseCopy::Existing existing = DatabaseCopy::Existing::kRefuse);

// Puts a verified copy of `backup` in the place of `database`, which nobody may have open; what was there is
// kept as `kept`. Killed at any point it leaves the old database or the new one.
absl::StatusOr<DatabaseFacts> RestoreDatabase(const std::string& backup, const std::string& database,
                                              const std::string& kept);

}  // namespace rung
