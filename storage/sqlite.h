// RAII over SQLite's C interface: one connection, its statements, its errors as absl::Status.
// Not thread-safe: one thread uses a connection and its statements.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace rung {

class Statement;

class Sqlite {
 public:
  // Opens or makes the file (":memory:" for tests), exclusively, with WAL and synchronous=FULL. max_pages 0:
  // no limit. Errors: Aborted (E0503: another process has it open), DataLoss (E0502: not a database, or
  // damaged), ResourceExhausted (E0504: disk full), Internal (E0505: an I/O error).
  static absl::StatusOr<Sqlite> Open(const std::string& path, int64_t max_pages = 0);
  // A file that nobody writes: no lock, no write-ahead log, nothing beside it is made. Errors as Open.
  static absl::StatusOr<Sqlite> OpenReadOnly(const std::string& path);
  // A file for a copy: exclusive, without a write-ahead log, synced at its commit. Errors as Open.
  static absl::StatusOr<Sqlite> OpenForCopy(const std::string& path);
  ~Sqlite();
  Sqlite(Sqlite&& other) noexcept;
  Sqlite& operator=(Sqlite&&) = delete;

  absl::Status Execute(const std::string& sql);
  absl::StatusOr<Statement> Prepare(const std::string& sql);
  absl::StatusOr<int64_t> Integer(const std::string& sql);  // the one number the query gives
  absl::Status SyncLog();                                   // the write-ahead log, once something was read
  absl::Status Error(int code) const;                       // of the last call on this connection
  const std::string& path() const { return path_; }

 private:
  friend class DatabaseCopy;  // SQLite's backup wants both connections
  Sqlite(sqlite3* connection, std::string path) : connection_(connection), path_(std::move(path)) {}
  static absl::StatusOr<Sqlite> Connect(const std::string& path, const std::string& name, int flags);
  sqlite3* connection_;
  std::string path_;
};

class Statement {
 public:
  Statement(sqlite3_stmt* statement, const Sqlite& owner) : statement_(statement), owner_(&owner) {}
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;

  // Parameters are bound in order, from the first one after construction or Reset.
  Statement& Bind(int64_t value);
  Statement& Bind(double value);  // NaN becomes NULL
  Statement& Bind(const std::string& value);
  Statement& BindBlob(const std::string& value);
  Statement& BindNull();

  absl::StatusOr<bool> Step();  // true: a row is there
  absl::Status Run();           // steps to the end and resets

  int64_t Integer(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;  // also a blob's bytes
  bool IsNull(int column) const;
  void Reset();

 private:
  sqlite3_stmt* statement_;
  const Sqlite* owner_;
  int next_ = 1;
  int bind_error_ = 0;
};

}  // namespace rung
