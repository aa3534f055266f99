#include "coordinator/state_directory.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr int kSecretBytes = 32;

absl::Status DirectoryError(const std::string& path, const std::string& problem) {
  return MakeError(absl::StatusCode::kPermissionDenied,
                   {"E0674", absl::StrFormat("the state directory cannot be used: %s", problem), path, "",
                    "Use a directory of yours with --dir"});
}

// Ours, and closed to others. A directory that is open to others is closed only if it is `rungs`: another's
// files must not be locked away.
absl::Status MakePrivate(const std::string& path, bool rungs) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    RUNG_RETURN_IF_ERROR(MakeDirectories(path));
    if (lstat(path.c_str(), &info) != 0) return DirectoryError(path, strerror(errno));
  }
  if (S_ISLNK(info.st_mode)) return DirectoryError(path, "it is a symbolic link");
  if (!S_ISDIR(info.st_mode)) return DirectoryError(path, "it is not a directory");
  if (info.st_uid != geteuid())
    return DirectoryError(path, absl::StrFormat("it belongs to user %d", info.st_uid));
  if ((info.st_mode & 077) == 0) return absl::OkStatus();
  if (!rungs) {
    return MakeError(absl::StatusCode::kPermissionDenied,
                     {"E0674",
                      absl::StrFormat("%s holds other files and others can enter it (mode %04o)", path,
                                      info.st_mode & 07777),
                      path, absl::StrFormat("%04o", info.st_mode & 07777),
                      "Name a new directory with --dir, or close this one: chmod 700 " + path});
  }
  if (chmod(path.c_str(), 0700) != 0) return DirectoryError(path, strerror(errno));
  return absl::OkStatus();
}

// Has a nonce of ours, or nothing but what people put there first.
bool IsRungs(const StateDir& dir) {
  struct stat info {};
  if (lstat(dir.nonce().c_str(), &info) == 0) return S_ISREG(info.st_mode) && info.st_uid == geteuid();
  std::error_code error;
  for (std::filesystem::directory_iterator entry(dir.root, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename() != "cluster.env") return false;
  }
  return !error;
}

std::string NewSecret() {
  std::array<unsigned char, kSecretBytes> bytes{};
  RUNG_CHECK(RAND_bytes(bytes.data(), kSecretBytes) == 1, "the system has random bytes");
  std::string text;
  for (const unsigned char byte : bytes) text += absl::StrFormat("%02x", byte);
  return text;
}

}  // namespace

absl::StatusOr<Secrets> PrepareStateDirectory(const StateDir& dir) {
  std::error_code unresolved;  // a link on the way is its owner's affair, one inside is not
  const std::filesystem::path real = std::filesystem::canonical(dir.root, unresolved);
  RUNG_RETURN_IF_ERROR(MakePrivate(unresolved ? dir.root : real.string(), IsRungs(dir)));
  for (const std::string& path :
       {dir.lock_directory(), dir.logs(), dir.tls(), dir.root + "/tokens", dir.root + "/workers",
        dir.root + "/studies", dir.root + "/backups", dir.root + "/artifacts"}) {
    RUNG_RETURN_IF_ERROR(MakePrivate(path, /*rungs=*/true));
  }
  Secrets secrets;
  for (const char* role : {"admin", "worker", "viewer"}) {
    RUNG_RETURN_IF_ERROR(WriteFileOnce(dir.token(role), NewSecret() + "\n"));
    RUNG_ASSIGN_OR_RETURN(secrets.tokens[role], ReadToken(dir, role));
  }
  RUNG_RETURN_IF_ERROR(WriteFileOnce(dir.nonce(), NewSecret() + "\n"));
  RUNG_ASSIGN_OR_RETURN(secrets.nonce, ReadFile(dir.nonce(), 4096));
  return secrets;
}

absl::StatusOr<std::string> ReplaceToken(const StateDir& dir, const std::string& role) {
  std::string token = NewSecret();
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(dir.token(role), token + "\n"));
  return token;
}

absl::Status CheckDatabaseThere(const StateDir& dir, const std::string& database) {
  std::error_code error;
  if (const auto bytes = std::filesystem::file_size(database, error); !error && bytes > 0)
    return absl::OkStatus();
  const std::string studies = dir.root + "/studies";
  for (std::filesystem::directory_iterator entry(studies, error), end; !error && entry != end;
       entry.increment(error)) {
    return MakeError(absl::StatusCode::kDataLoss,
                     {"E0507", "the database is missing or empty, though studies have files beside it",
                      database, entry->path().string(),
                      "Put rung.db back (with rung.db-wal, if there is one), restore a copy (rung backup "
                      "restore FILE), or use"
                      " another directory with --dir"});
  }
  return absl::OkStatus();
}

void RemoveOldTemporaries(const StateDir& dir) {
  const auto an_hour_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const std::string& directory : {dir.root, dir.root + "/tokens"}) {
    std::error_code error;
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code gone;
      const auto written = entry->last_write_time(gone);
      const std::string name = entry->path().filename().string();
      // The root may be somebody's own directory with files of theirs.
      const bool ours = directory != dir.root || absl::StartsWith(name, "status.json.") ||
                        absl::StartsWith(name, "endpoint.json.");
      const bool old = !gone && written < an_hour_ago && entry->path().extension() == ".tmp";
      if (ours && old && entry->is_regular_file(gone)) std::filesystem::remove(entry->path(), gone);
    }
  }
}

absl::Status PrepareStudyDirectory(const StateDir& dir, int64_t study, const std::string& canonical_json) {
  for (const char* name : {"/logs", "/checkpoints", "/outputs"}) {
    RUNG_RETURN_IF_ERROR(MakeDirectories(dir.study(study) + name));
  }
  return WriteFileAtomic(dir.study(study) + "/study.json", canonical_json + "\n");
}

}  // namespace rung
