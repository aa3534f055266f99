// Preloaded into the real programs where a test may not mount a small file system of its own: while the file
// $RUNG_TEST_FULL_DISK/filler exists, writing to any file below $RUNG_TEST_FULL_DISK answers as a full disk
// does.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

bool IsFull(int descriptor) {
  const char* disk = getenv("RUNG_TEST_FULL_DISK");
  if (disk == nullptr) return false;
  char name[64];
  char path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(name, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  if (strncmp(path, disk, strlen(disk)) != 0) return false;
  snprintf(path, sizeof path, "%s/filler", disk);
  return access(path, F_OK) == 0;
}

template <typename Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

template <typename Result, typename... Arguments>
Result Unless(const char* name, int descriptor, Arguments... arguments) {
  if (IsFull(descriptor)) {
    errno = ENOSPC;
    return -1;
  }
  return Next<Result (*)(int, Arguments...)>(name)(descriptor, arguments...);
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  return Unless<ssize_t>("write", fd, bytes, size);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  return Unless<ssize_t>("writev", fd, parts, count);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return Unless<ssize_t>("pwrite", fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return Unless<ssize_t>("pwrite64", fd, bytes, size, offset);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  return IsFull(fd) ? ENOSPC : Next<int (*)(int, off_t, off_t)>("posix_fallocate")(fd, offset, size);
}

}  // extern "C"
