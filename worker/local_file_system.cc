#include "worker/local_file_system.h"

#include <sys/vfs.h>

#include <cstdint>

namespace rung {

bool OnLocalFileSystem(const std::string& path) {
  struct statfs info {};
  if (statfs(path.c_str(), &info) != 0) return false;
  switch (static_cast<uint32_t>(info.f_type)) {
    case 0xEF53:      // ext2 to ext4
    case 0x58465342:  // XFS
    case 0x9123683E:  // Btrfs
    case 0x2FC12FC1:  // ZFS
    case 0x01021994:  // tmpfs
    case 0x794C7630:  // overlay
      return true;
    default:
      return false;
  }
}

}  // namespace rung
