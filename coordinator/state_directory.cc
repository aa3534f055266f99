#include "coordinator/state_directory.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

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

// Ours, and closed to others.
absl::Status MakePrivate(const std::string& path) {
  RUNG_RETURN_IF_ERROR(MakeDirectories(path));
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return DirectoryError(path, strerror(errno));
  if (info.st_uid != geteuid())
    return DirectoryError(path, absl::StrFormat("it belongs to user %d", info.st_uid));
  if ((info.st_mode & 077) != 0 && chmod(path.c_str(), 0700) != 0)
    return DirectoryError(path, strerror(errno));
  return absl::OkStatus();
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
  RUNG_RETURN_IF_ERROR(MakePrivate(dir.root));
  for (const std::string& path :
       {dir.lock_directory(), dir.logs(), dir.tls(), dir.root + "/tokens", dir.root + "/workers",
        dir.root + "/studies", dir.root + "/backups", dir.root + "/artifacts"}) {
    RUNG_RETURN_IF_ERROR(MakePrivate(path));
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

absl::Status PrepareStudyDirectory(const StateDir& dir, int64_t study, const std::string& canonical_json) {
  for (const char* name : {"/logs", "/checkpoints", "/outputs"}) {
    RUNG_RETURN_IF_ERROR(MakeDirectories(dir.study(study) + name));
  }
  return WriteFileAtomic(dir.study(study) + "/study.json", canonical_json + "\n");
}

}  // namespace rung
