// Files as Rung uses them: read whole, written atomically, hashed. Private modes (0600, 0700). Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

// A file descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}  // -1: none
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  const int value_;
};

// The whole file. Errors (E0602): NotFound, PermissionDenied, ResourceExhausted if larger than max_bytes,
// InvalidArgument if it is a fifo, a device or the like, Internal.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = int64_t{1} << 30);

// That `path` cannot be written, for what `error` (an errno) says: NotFound, PermissionDenied,
// ResourceExhausted (disk full), Internal (E0603).
absl::Status WriteError(const std::string& path, int error);

// Temp file in the same directory, fsync, rename, fsync of the directory: readers see the old or the new
// bytes. Errors as WriteError.
absl::Status WriteFileAtomic(const std::string& path, const std::string& bytes, int mode = 0600);

// The same, but a file that is there already stays as it is: readers see no file, or all bytes of the first
// writer. Errors as WriteError.
absl::Status WriteFileOnce(const std::string& path, const std::string& bytes, int mode = 0600);

// fsync of the directory that holds `path`: its name lasts. Errors as WriteError.
absl::Status SyncParent(const std::string& path);

// Makes the directory and its missing parents with 0700. OK if it exists.
absl::Status MakeDirectories(const std::string& path);

// The network file system that statfs' f_type stands for ("NFS", "Lustre", "GPFS", "BeeGFS", "CephFS", "SMB",
// "AFS"); empty: none that is known, as a disk of this host. SMB does not keep POSIX modes.
std::string NetworkFileSystem(int64_t f_type);
// Of the file system that `path` lies on; empty too where that cannot be told.
std::string NetworkFileSystemAt(const std::string& path);

// Absolute, without "." and ".."; symbolic links are left alone. `base` is used for a relative path.
std::string AbsolutePath(const std::string& path, const std::string& base = "");

// The number in argv of the script file that an interpreter is given: its first argument that is no option,
// where that looks like one.
std::optional<size_t> ScriptArgument(const std::vector<std::string>& argv);

std::string Sha256Hex(const std::string& bytes);

// Streams the file. Errors as ReadFile.
absl::StatusOr<std::string> FileSha256Hex(const std::string& path);

}  // namespace rung
