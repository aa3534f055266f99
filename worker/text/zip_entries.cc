#include "worker/text/zip_entries.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

namespace rung {
namespace {

constexpr uint64_t kMaxEntries = 1'000'000;
constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kLargeEndBytes = 56, kCentralBytes = 46,
                 kLocalBytes = 30;
constexpr size_t kMaxComment = 65535;
constexpr uint64_t kIn64 = 0xFFFFFFFF;  // the value stands in the zip64 field

uint64_t Number(std::string_view bytes, size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

bool Has(std::string_view bytes, uint64_t at, uint64_t size) {
  return at <= bytes.size() && size <= bytes.size() - at;
}

absl::Status Bad(const char* message) {
  return absl::InvalidArgumentError(message);
}

struct Directory {
  uint64_t entries = 0, begin = 0, size = 0;
};

absl::StatusOr<Directory> FindDirectory(std::string_view archive) {
  if (archive.size() < kEndBytes) return Bad("the archive is cut off");
  const size_t least = archive.size() - std::min(archive.size(), kEndBytes + kMaxComment);
  size_t end = archive.size() - kEndBytes;
  while (Number(archive, end, 4) != 0x06054B50) {
    if (end-- == least) return Bad("the archive has no directory");
  }
  Directory directory{Number(archive, end + 10, 2), Number(archive, end + 16, 4),
                      Number(archive, end + 12, 4)};
  if (end >= kLocatorBytes && Number(archive, end - kLocatorBytes, 4) == 0x07064B50) {
    const uint64_t large = Number(archive, end - kLocatorBytes + 8, 8);
    if (!Has(archive, large, kLargeEndBytes) ||
        Number(archive, static_cast<size_t>(large), 4) != 0x06064B50) {
      return Bad("the archive's directory is malformed");
    }
    const auto at = static_cast<size_t>(large);
    directory = {Number(archive, at + 32, 8), Number(archive, at + 48, 8), Number(archive, at + 40, 8)};
  }
  if (!Has(archive, directory.begin, directory.size)) return Bad("the archive's directory lies outside it");
  if (directory.entries > kMaxEntries) return Bad("the archive has too many entries");
  return directory;
}

struct Sizes {
  uint64_t packed, plain, header;
};

// Takes from the zip64 field what the entry itself has no room for.
bool ReadLarge(std::string_view extra, Sizes* sizes) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const uint64_t kind = Number(extra, at, 2), size = Number(extra, at + 2, 2);
    at += 4;
    if (!Has(extra, at, size)) return false;
    size_t field = at;
    const size_t end = at + static_cast<size_t>(size);
    for (uint64_t* value : {&sizes->plain, &sizes->packed, &sizes->header}) {
      if (kind != 1 || *value != kIn64) continue;
      if (field + 8 > end) return false;
      *value = Number(extra, field, 8);
      field += 8;
    }
    at = end;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::map<std::string, ZipEntry>> ZipEntries(std::string_view archive) {
  const absl::StatusOr<Directory> directory = FindDirectory(archive);
  if (!directory.ok()) return directory.status();
  const std::string_view list =
      archive.substr(static_cast<size_t>(directory->begin), static_cast<size_t>(directory->size));
  std::map<std::string, ZipEntry> entries;
  size_t at = 0;
  for (uint64_t i = 0; i < directory->entries; ++i) {
    if (!Has(list, at, kCentralBytes) || Number(list, at, 4) != 0x02014B50)
      return Bad("an entry is malformed");
    const uint64_t name_size = Number(list, at + 28, 2), extra_size = Number(list, at + 30, 2);
    const uint64_t tail = name_size + extra_size + Number(list, at + 32, 2);
    if (!Has(list, at + kCentralBytes, tail)) return Bad("an entry is malformed");
    Sizes sizes{Number(list, at + 20, 4), Number(list, at + 24, 4), Number(list, at + 42, 4)};
    const std::string name(list.substr(at + kCentralBytes, static_cast<size_t>(name_size)));
    const auto extra =
        list.substr(at + kCentralBytes + static_cast<size_t>(name_size), static_cast<size_t>(extra_size));
    if (!ReadLarge(extra, &sizes)) return Bad("an entry's sizes are malformed");
    const bool stored = Number(list, at + 10, 2) == 0 && (Number(list, at + 8, 2) & 1) == 0;
    if (!stored || sizes.packed != sizes.plain) return Bad("an entry is compressed or encrypted");
    if (!Has(archive, sizes.header, kLocalBytes)) return Bad("an entry lies outside the archive");
    const auto header = static_cast<size_t>(sizes.header);
    if (Number(archive, header, 4) != 0x04034B50) return Bad("an entry has no header");
    const uint64_t begin =
        sizes.header + kLocalBytes + Number(archive, header + 26, 2) + Number(archive, header + 28, 2);
    if (!Has(archive, begin, sizes.plain)) return Bad("an entry lies outside the archive");
    const ZipEntry entry{static_cast<size_t>(begin), static_cast<size_t>(begin + sizes.plain)};
    if (!entries.emplace(name, entry).second) return Bad("two entries have one name");
    at += kCentralBytes + static_cast<size_t>(tail);
  }
  return entries;
}

}  // namespace rung
