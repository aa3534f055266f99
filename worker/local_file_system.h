// Tells the disks of one host from what other hosts may write too.
#pragma once

#include <string>

namespace rung {

// Whether no other host can write where `path` lies: ext, XFS, Btrfs, ZFS, tmpfs, overlay. False where it
// cannot be told. Thread-safe.
bool OnLocalFileSystem(const std::string& path);

}  // namespace rung
