// The entries of a zip archive that is stored without compression (PKWARE APPNOTE 6.3, zip64 too). Internal
// to worker/text. Pure; thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace rung {

struct ZipEntry {
  size_t begin = 0, end = 0;  // of its bytes, from the start of the archive
};

// By name. InvalidArgument with a bare message if it is no such archive: every offset is checked, no name
// stands twice, at most a million entries.
absl::StatusOr<std::map<std::string, ZipEntry>> ZipEntries(std::string_view archive);

}  // namespace rung
