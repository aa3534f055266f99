// Records of CSV and TSV files (RFC 4180, with the liberties people take). Internal to worker/text. Pure
// functions; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

struct DelimitedRecord {
  std::vector<std::string> fields;
  int line = 0;  // 1-based, where the record starts
};

struct DelimitedFile {
  std::vector<std::string> header;  // blanks at both ends cut off
  std::vector<DelimitedRecord> records;
};

// `text` without BOM. The separator is the one of , ; tab with which the header has all of `wanted`, else the
// one with most columns. The quote is " or, if most records have a field in ' and the whole file agrees with
// that, '. A tab-separated file that is no valid quoted file but fits without any quotes has none. Errors
// with where = "path:line": E0401, E0404, E0407.
absl::StatusOr<DelimitedFile> ParseDelimited(const std::string& text, const std::string& path,
                                             const std::vector<std::string>& wanted);

}  // namespace rung
