#include "cli/slurm_sharing.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace rung {
namespace {

constexpr std::array kLocalTypes = {"ext2",  "ext3",   "ext4",    "xfs",      "btrfs",
                                    "zfs",   "f2fs",   "jfs",     "bcachefs", "tmpfs",
                                    "ramfs", "rootfs", "overlay", "aufs",     "squashfs",
                                    "vfat",  "exfat",  "ntfs3",   "fuseblk",  "fuse.fuse-overlayfs"};
constexpr std::array kOfEachHost = {"/tmp", "/var/tmp", "/dev/shm", "/run"};

bool Below(const std::string& path, const std::string& directory) {
  return path == directory || directory == "/" || absl::StartsWith(path, directory + "/");
}

bool IsOctal(char c) {
  return c >= '0' && c <= '7';
}

// The kernel writes blanks, newlines and backslashes as \040.
std::string Unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::string FileSystemType(const std::string& mountinfo, const std::string& path) {
  std::string type;
  size_t longest = 0;
  const std::vector<std::string> lines = absl::StrSplit(mountinfo, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    // ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 2) continue;
    const std::string point = Unescaped(words[4]);
    // A later mount on the same directory hides the earlier one.
    if (!Below(path, point) || point.size() < longest) continue;
    longest = point.size();
    type = *(dash + 1);
  }
  return type;
}

Finding CheckSharing(const std::string& path, const std::string& mountinfo) {
  const std::string type = FileSystemType(mountinfo, path);
  const std::string what = type.empty() ? path : absl::StrFormat("%s, on %s", path, type);
  const bool local = std::find(kLocalTypes.begin(), kLocalTypes.end(), type) != kLocalTypes.end();
  const bool each = std::any_of(kOfEachHost.begin(), kOfEachHost.end(),
                                [&](const char* directory) { return Below(path, directory); });
  if (!local && !each) return {"state directory", Verdict::kOk, what, ""};
  return {"state directory", Verdict::kWarn,
          what + ": other nodes do not see it, unless they get it from this host",
          "Give --dir on a file system that login and compute nodes share"};
}

}  // namespace rung
