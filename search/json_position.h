// Where things stand in a JSON text: nlohmann gives values without positions, people need file:line:column.
// Immutable after Scan; thread-safe.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

// Both from 1; columns count characters, not bytes.
struct TextPosition {
  int line = 1;
  int column = 1;
};

class JsonPositions {
 public:
  static constexpr int kMaxDepth = 32;

  // Scans a text that may be wrong elsewhere. Errors: InvalidArgument, a number that is not finite (E0301), a
  // key that stands twice (E0302) or nesting deeper than kMaxDepth (E0303), with where = file:line:column.
  // Stops without an error where the text is not JSON.
  static absl::StatusOr<JsonPositions> Scan(const std::string& text, const std::string& file);

  // Of the value that a JSON pointer ("/space/lr/low") names, or of its nearest known ancestor.
  TextPosition OfValue(const std::string& pointer) const;
  // Of the key itself; of the value for members of arrays.
  TextPosition OfKey(const std::string& pointer) const;

 private:
  class Scanner;
  std::map<std::string, TextPosition> values_;
  std::map<std::string, TextPosition> keys_;
};

// Parses with the limits of study files: `max_bytes` (E0304), depth and duplicate keys as Scan, syntax
// (E0301). Errors carry where = file:line:column.
absl::StatusOr<nlohmann::json> ParseJsonText(const std::string& text, const std::string& file,
                                             int64_t max_bytes);

// Errors made while reading a parsed document say where as "#/pointer" (a value), "#key:/pointer" (a key), or
// with dots ("trainer.train", "space.lora.r"). This turns that into file:line:column; other places are left
// as they are.
absl::Status Located(const absl::Status& status, const std::string& text, const std::string& file);

// "#/low" becomes "#/space/lr/low" with prefix "/space/lr".
absl::Status WithPointerPrefix(const absl::Status& status, const std::string& prefix);

// A key as a JSON pointer's token: ~ and / escaped.
std::string PointerToken(const std::string& key);

}  // namespace rung
