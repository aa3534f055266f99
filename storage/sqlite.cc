#include "storage/sqlite.h"

#include <sqlite3.h>

#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

// EXCLUSIVE comes first: with it the write-ahead log needs no shared-memory file, and no other process gets
// in.
constexpr char kPragmas[] =
    "PRAGMA locking_mode=EXCLUSIVE;"
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA temp_store=MEMORY;";

// NOFOLLOW refuses a link anywhere in the path; only the file itself must not be one.
std::string WithRealParent(const std::string& path) {
  std::error_code unresolved;
  const std::filesystem::path file(path);
  const std::filesystem::path parent = std::filesystem::canonical(file.parent_path(), unresolved);
  return unresolved ? path : (parent / file.filename()).string();
}

std::string ImmutableUri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '/' || c == '.' || c == '-';
    uri += plain ? std::string(1, c) : absl::StrFormat("%%%02x", static_cast<unsigned char>(c));
  }
  return uri + "?immutable=1";
}

}  // namespace

absl::StatusOr<Sqlite> Sqlite::Connect(const std::string& path, const std::string& name, int flags) {
  sqlite3* connection = nullptr;
  const int code =
      sqlite3_open_v2(name.c_str(), &connection, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  Sqlite opened(connection, path);
  if (code != SQLITE_OK) return opened.Error(code);
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  return opened;
}

absl::StatusOr<Sqlite> Sqlite::Open(const std::string& path, int64_t max_pages) {
  RUNG_ASSIGN_OR_RETURN(Sqlite opened,
                        Connect(path, WithRealParent(path), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  RUNG_RETURN_IF_ERROR(opened.Execute(kPragmas));
  if (max_pages > 0)
    RUNG_RETURN_IF_ERROR(opened.Execute(absl::StrFormat("PRAGMA max_page_count=%d", max_pages)));
  return opened;
}

absl::StatusOr<Sqlite> Sqlite::OpenReadOnly(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(Sqlite opened, Connect(path, ImmutableUri(WithRealParent(path)),
                                               SQLITE_OPEN_READONLY | SQLITE_OPEN_URI));
  RUNG_RETURN_IF_ERROR(opened.Execute("PRAGMA trusted_schema=OFF"));
  return opened;
}

absl::StatusOr<Sqlite> Sqlite::OpenForCopy(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(Sqlite opened, Connect(path, WithRealParent(path), SQLITE_OPEN_READWRITE));
  RUNG_RETURN_IF_ERROR(opened.Execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL"));
  return opened;
}

Sqlite::~Sqlite() {
  sqlite3_close_v2(connection_);
}

Sqlite::Sqlite(Sqlite&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)), path_(std::move(other.path_)) {}

absl::Status Sqlite::Execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<Statement> Sqlite::Prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_, sql.c_str(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  return Statement(statement, *this);
}

absl::StatusOr<int64_t> Sqlite::Integer(const std::string& sql) {
  RUNG_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  RUNG_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Integer(0) : 0;
}

absl::Status Sqlite::SyncLog() {
  sqlite3_file* log = nullptr;
  int code = sqlite3_file_control(connection_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (code == SQLITE_OK && log != nullptr && log->pMethods != nullptr)
    code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
  if (code == SQLITE_OK) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInternal,
                   {"E0505", "the database's log cannot be synced", path_, sqlite3_errstr(code),
                    "Check the disk and start again: everything acknowledged is stored"});
}

absl::Status Sqlite::Error(int code) const {
  const std::string text = connection_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(connection_);
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return MakeError(absl::StatusCode::kAborted, {"E0503", "another process has the database open", path_,
                                                    text, "Stop the other coordinator of this directory"});
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return MakeError(absl::StatusCode::kDataLoss,
                       {"E0502", "the database is damaged or none of Rung's: " + text, path_, text,
                        "Put a copy in its place (rung backup restore FILE), or use another directory"});
    case SQLITE_FULL:
      return MakeError(absl::StatusCode::kResourceExhausted,
                       {"E0504", "the disk is full, nothing more can be stored", path_, text,
                        "Free some space and start again: everything acknowledged is stored"});
    default:
      return MakeError(absl::StatusCode::kInternal,
                       {"E0505", "the database cannot be used: " + text, path_, text,
                        "Check the disk and start again: everything acknowledged is stored"});
  }
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)),
      owner_(other.owner_),
      next_(other.next_),
      bind_error_(other.bind_error_) {}

Statement& Statement::Bind(int64_t value) {
  bind_error_ |= sqlite3_bind_int64(statement_, next_++, value);
  return *this;
}

Statement& Statement::Bind(double value) {
  bind_error_ |= sqlite3_bind_double(statement_, next_++, value);
  return *this;
}

Statement& Statement::Bind(const std::string& value) {
  bind_error_ |=
      sqlite3_bind_text64(statement_, next_++, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::BindBlob(const std::string& value) {
  bind_error_ |= sqlite3_bind_blob64(statement_, next_++, value.data(), value.size(), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::BindNull() {
  bind_error_ |= sqlite3_bind_null(statement_, next_++);
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  if (bind_error_ != SQLITE_OK) return owner_->Error(bind_error_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const absl::Status error = owner_->Error(code);
  Reset();
  return error;
}

absl::Status Statement::Run() {
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) break;
  }
  Reset();
  return absl::OkStatus();
}

int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

double Statement::Real(int column) const {
  return sqlite3_column_double(statement_, column);
}

std::string Statement::Text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<size_t>(size));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

void Statement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  next_ = 1;
  bind_error_ = 0;
}

}  // namespace rung
