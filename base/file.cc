#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

absl::StatusCode CodeOfErrno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status ReadError(const std::string& path, int error) {
  return MakeError(CodeOfErrno(error),
                   {"E0602", absl::StrFormat("cannot read %s: %s", path, strerror(error)), path, path,
                    error == ENOENT ? "Check the path" : "Check the file's owner and mode"});
}

bool WriteAll(int descriptor, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(descriptor, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// The bytes on disk under a new name beside `path`, which is returned.
absl::StatusOr<std::string> WriteTemporary(const std::string& path, const std::string& bytes, int mode) {
  constexpr char kSuffix[] = ".tmp";
  std::string temporary = path + ".XXXXXX" + kSuffix;
  // O_EXCL: neither a link that somebody laid nor what a killed process left is written through.
  const Descriptor file(mkostemps(temporary.data(), static_cast<int>(sizeof(kSuffix) - 1), O_CLOEXEC));
  if (file.get() < 0) return WriteError(path, errno);
  const bool written = fchmod(file.get(), static_cast<mode_t>(mode)) == 0 && WriteAll(file.get(), bytes) &&
                       fsync(file.get()) == 0;
  if (written) return temporary;
  const int error = errno;
  unlink(temporary.c_str());
  return WriteError(path, error);
}

std::string Hex(const unsigned char* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += absl::StrFormat("%02x", bytes[i]);
  return text;
}

// Neither a fifo, which nobody may ever write to, nor a device, which may never end: both would be waited
// for. Gives its size.
absl::StatusOr<int64_t> CheckRegular(const Descriptor& file, const std::string& path) {
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return ReadError(path, errno);
  if (S_ISREG(info.st_mode)) return info.st_size;
  if (S_ISDIR(info.st_mode)) return ReadError(path, EISDIR);
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0602", absl::StrFormat("%s is no regular file", path), path, path,
                    "Write what it gives into a file, and name that"});
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void Add(const char* bytes, size_t size) { EVP_DigestUpdate(context_.get(), bytes, size); }
  std::string Finish() {
    std::array<unsigned char, 32> digest{};
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    return Hex(digest.data(), size);
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) close(value_);
}

absl::Status WriteError(const std::string& path, int error) {
  const char* mend = "Check the directory's owner and mode";
  if (error == ENOSPC || error == EDQUOT) mend = "Free some space and try again";
  if (error == ENOTDIR) mend = "A part of the path is a file: choose another directory";
  if (error == ENOENT) mend = "Make the directory that it lies in, or choose another";
  if (error == EMFILE || error == ENFILE) mend = "Raise the limit of open files: ulimit -n";
  if (error == EROFS) mend = "This file system is read-only: choose another directory";
  return MakeError(
      CodeOfErrno(error),
      {"E0603", absl::StrFormat("cannot write %s: %s", path, strerror(error)), path, path, mend});
}

namespace {

absl::Status TooLarge(const std::string& path, int64_t max_bytes) {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   {"E0602", absl::StrFormat("%s is larger than %d bytes", path, max_bytes), path, path,
                    "Use a smaller file"});
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return ReadError(path, errno);
  RUNG_ASSIGN_OR_RETURN(const int64_t size, CheckRegular(file, path));
  if (size > max_bytes) return TooLarge(path, max_bytes);
  std::string bytes;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ReadError(path, errno);
    if (n == 0) return bytes;
    bytes.append(buffer.data(), static_cast<size_t>(n));
    if (static_cast<int64_t>(bytes.size()) > max_bytes)
      return TooLarge(path, max_bytes);  // it grew, or /proc
  }
}

absl::Status SyncParent(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const Descriptor directory(open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return WriteError(path, errno);
  return absl::OkStatus();
}

absl::Status WriteFileAtomic(const std::string& path, const std::string& bytes, int mode) {
  RUNG_ASSIGN_OR_RETURN(const std::string temporary, WriteTemporary(path, bytes, mode));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return WriteError(path, error);
  }
  return SyncParent(path);
}

absl::Status WriteFileOnce(const std::string& path, const std::string& bytes, int mode) {
  if (access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const std::string temporary, WriteTemporary(path, bytes, mode));
  const int error = link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  unlink(temporary.c_str());
  if (error != 0 && error != EEXIST) return WriteError(path, error);
  return SyncParent(path);
}

absl::Status MakeDirectories(const std::string& path) {
  if (path.empty() || path == "/" || path == ".") return absl::OkStatus();
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
  RUNG_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path).parent_path().string()));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return WriteError(path, errno);
  if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return WriteError(path, ENOTDIR);
  return absl::OkStatus();
}

// Of the kernel's linux/magic.h and of the file systems' own sources: Lustre (LL_SUPER_MAGIC), GPFS ("GPFS"),
// BeeGFS (its client's super.c).
std::string NetworkFileSystem(int64_t f_type) {
  switch (static_cast<uint32_t>(f_type)) {  // the field is signed on some machines
    case 0x6969:
      return "NFS";
    case 0x0BD00BD0:
      return "Lustre";
    case 0x47504653:
      return "GPFS";
    case 0x19830326:
      return "BeeGFS";
    case 0x00C36400:
      return "CephFS";
    case 0x517B:
    case 0xFF534D42:
    case 0xFE534D42:
      return "SMB";
    case 0x5346414F:
    case 0x6B414653:
      return "AFS";
    default:
      return "";
  }
}

std::string NetworkFileSystemAt(const std::string& path) {
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 ? NetworkFileSystem(static_cast<int64_t>(info.f_type)) : "";
}

std::string AbsolutePath(const std::string& path, const std::string& base) {
  std::filesystem::path result(path);
  if (result.is_relative()) {
    result = (base.empty() ? std::filesystem::current_path() : std::filesystem::absolute(base)) / result;
  }
  std::string text = result.lexically_normal().string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::optional<size_t> ScriptArgument(const std::vector<std::string>& argv) {
  for (size_t i = 1; i < argv.size(); ++i) {
    if (argv[i].rfind('-', 0) == 0) continue;
    const bool script = argv[i].ends_with(".py") || argv[i].ends_with(".sh");
    if (script && argv[i].find(' ') == std::string::npos) return i;
    break;
  }
  return std::nullopt;
}

std::string Sha256Hex(const std::string& bytes) {
  Sha256 sum;
  sum.Add(bytes.data(), bytes.size());
  return sum.Finish();
}

absl::StatusOr<std::string> FileSha256Hex(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return ReadError(path, errno);
  RUNG_RETURN_IF_ERROR(CheckRegular(file, path).status());
  Sha256 sum;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ReadError(path, errno);
    if (n == 0) return sum.Finish();
    sum.Add(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace rung
