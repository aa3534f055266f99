// MappedFile (weight_files.h).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "worker/text/weight_files.h"

namespace rung {
namespace {

absl::Status OpenError(const std::string& path, int error) {
  const auto code = error == ENOENT || error == ENOTDIR ? absl::StatusCode::kNotFound
                    : error == EACCES                   ? absl::StatusCode::kPermissionDenied
                                                        : absl::StatusCode::kInternal;
  return MakeError(code, {"E0430", absl::StrFormat("cannot open the weights: %s", std::strerror(error)), path,
                          path, "Check the path and its mode"});
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return OpenError(path, errno);
  struct stat info {};
  const bool regular = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
  std::unique_ptr<MappedFile> file(new MappedFile());
  void* mapped = nullptr;
  if (regular && info.st_size > 0) {  // an empty file cannot be mapped
    mapped = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
  }
  const int error = errno;
  close(descriptor);
  if (!regular) return OpenError(path, S_ISDIR(info.st_mode) ? EISDIR : EINVAL);
  if (mapped == MAP_FAILED) return OpenError(path, error);
  file->bytes_ = static_cast<const char*>(mapped);
  file->size_ = static_cast<size_t>(info.st_size);
  return file;
}

MappedFile::~MappedFile() {
  if (bytes_ != nullptr) munmap(const_cast<char*>(bytes_), size_);
}

}  // namespace rung
