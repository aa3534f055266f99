#include "search/json_position.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr size_t kLongestReason = 200;  // the parser quotes all that it has read of a string

std::string Where(const std::string& file, TextPosition position) {
  return absl::StrFormat("%s:%d:%d", file, position.line, position.column);
}

// A byte order mark is no part of the text that people see.
size_t StartOf(const std::string& text) {
  return absl::StartsWith(text, "\xEF\xBB\xBF") ? 3 : 0;
}

TextPosition PositionOfByte(const std::string& text, size_t offset) {
  TextPosition position;
  for (size_t i = StartOf(text); i < offset && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++position.line;
      position.column = 1;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++position.column;
    }
  }
  return position;
}

}  // namespace

// Walks the text once, recursively (bounded by kMaxDepth), keeping line and column.
class JsonPositions::Scanner {
 public:
  Scanner(const std::string& text, const std::string& file, JsonPositions& out)
      : text_(text), file_(file), out_(out), at_(StartOf(text)) {}

  absl::Status Run() {
    Value("", 0);
    return error_;
  }

 private:
  bool Done() const { return at_ >= text_.size() || !error_.ok(); }
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void Advance() {
    const auto c = static_cast<unsigned char>(text_[at_++]);
    if (c == '\n') {
      ++position_.line;
      position_.column = 1;
    } else if ((c & 0xC0) != 0x80) {
      ++position_.column;
    }
  }
  void SkipBlanks() {
    while (!Done() && (Peek() == ' ' || Peek() == '\t' || Peek() == '\n' || Peek() == '\r')) Advance();
  }
  bool Take(char c) {
    SkipBlanks();
    if (Done() || Peek() != c) return false;
    Advance();
    return true;
  }

  // The raw text between the quotes; keys with escapes are decoded by nlohmann.
  std::optional<std::string> String() {
    if (Peek() != '"') return std::nullopt;
    const size_t start = at_;
    Advance();
    while (!Done() && Peek() != '"') {
      if (Peek() == '\\') Advance();
      if (!Done()) Advance();
    }
    if (Done()) return std::nullopt;
    Advance();
    const nlohmann::json decoded = nlohmann::json::parse(text_.substr(start, at_ - start), nullptr, false);
    if (!decoded.is_string()) return std::nullopt;
    return decoded.get<std::string>();
  }

  bool Value(const std::string& pointer, int depth) {
    SkipBlanks();
    if (Done()) return false;
    out_.values_.emplace(pointer, position_);
    if (Peek() == '{' || Peek() == '[') {
      if (depth >= kMaxDepth) {
        error_ = MakeError(absl::StatusCode::kInvalidArgument,
                           {"E0303", absl::StrFormat("the JSON is nested deeper than %d levels", kMaxDepth),
                            Where(file_, position_), "", "Flatten it"});
        return false;
      }
      return Peek() == '{' ? Object(pointer, depth) : Array(pointer, depth);
    }
    if (Peek() == '"') return String().has_value();
    return Scalar();
  }

  // The parser has no place for a number that is too large, and no name for NaN and Infinity.
  bool Scalar() {
    const size_t start = at_;
    const TextPosition position = position_;
    while (!Done() && std::string(",]} \t\r\n").find(Peek()) == std::string::npos) Advance();
    const std::string token = text_.substr(start, at_ - start);
    double number = 0;
    if (absl::SimpleAtod(token, &number) && !std::isfinite(number)) {
      error_ = MakeError(
          absl::StatusCode::kInvalidArgument,
          {"E0301", absl::StrFormat("this is not JSON: %s is no finite number", Shortened(token)),
           Where(file_, position), Shortened(token), "Write a number between -1.7e308 and 1.7e308"});
      return false;
    }
    return at_ > start;
  }

  bool Object(const std::string& pointer, int depth) {
    Advance();
    if (Take('}')) return true;
    std::set<std::string> seen;
    do {
      SkipBlanks();
      const TextPosition key_position = position_;
      const std::optional<std::string> key = String();
      if (!key.has_value() || !Take(':')) return false;
      const std::string child = pointer + "/" + PointerToken(*key);
      if (!seen.insert(*key).second) {
        error_ =
            MakeError(absl::StatusCode::kInvalidArgument,
                      {"E0302", absl::StrFormat("the key \"%s\" stands twice in one object", Shortened(*key)),
                       Where(file_, key_position), Shortened(*key), "Keep one of them"});
        return false;
      }
      out_.keys_.emplace(child, key_position);
      if (!Value(child, depth + 1)) return false;
    } while (Take(','));
    return Take('}');
  }

  bool Array(const std::string& pointer, int depth) {
    Advance();
    if (Take(']')) return true;
    int index = 0;
    do {
      if (!Value(pointer + "/" + std::to_string(index++), depth + 1)) return false;
    } while (Take(','));
    return Take(']');
  }

  const std::string& text_;
  const std::string& file_;
  JsonPositions& out_;
  size_t at_;
  TextPosition position_;
  absl::Status error_;
};

absl::StatusOr<JsonPositions> JsonPositions::Scan(const std::string& text, const std::string& file) {
  JsonPositions positions;
  Scanner scanner(text, file, positions);
  RUNG_RETURN_IF_ERROR(scanner.Run());
  return positions;
}

TextPosition JsonPositions::OfValue(const std::string& pointer) const {
  std::string known = pointer;
  while (true) {
    if (const auto found = values_.find(known); found != values_.end()) return found->second;
    const size_t slash = known.rfind('/');
    if (slash == std::string::npos) return {};
    known.resize(slash);
  }
}

TextPosition JsonPositions::OfKey(const std::string& pointer) const {
  const auto found = keys_.find(pointer);
  return found != keys_.end() ? found->second : OfValue(pointer);
}

absl::StatusOr<nlohmann::json> ParseJsonText(const std::string& text, const std::string& file,
                                             int64_t max_bytes) {
  if (static_cast<int64_t>(text.size()) > max_bytes) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0304", absl::StrFormat("%d bytes are more than the %d that are read", text.size(), max_bytes),
         file, "", "Shorten the file"});
  }
  // The parser takes it for the end of the text, and would not see what stands behind it.
  if (const size_t nul = text.find('\0'); nul != std::string::npos) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0301", "this is not JSON: it has a NUL byte", Where(file, PositionOfByte(text, nul)),
                      "U+0000", "Remove it; in a string write \\u0000"});
  }
  RUNG_RETURN_IF_ERROR(JsonPositions::Scan(text, file).status());
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    std::string reason = error.what();
    if (const size_t colon = reason.find(": ", reason.find("parse error")); colon != std::string::npos) {
      reason = reason.substr(colon + 2);
    }
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0301", "this is not JSON: " + Shortened(reason, kLongestReason),
         Where(file, PositionOfByte(text, offset)), "", "Correct the syntax there or just before"});
  }
}

std::string PointerToken(const std::string& key) {
  return absl::StrReplaceAll(key, {{"~", "~0"}, {"/", "~1"}});
}

namespace {

// "space.lora.r" names /space/lora.r: keys may hold dots, so the longest key that exists is taken at each
// step.
std::optional<std::string> PointerOfDots(const nlohmann::json& document, const std::string& dots) {
  const nlohmann::json* at = &document;
  std::string pointer;
  std::string rest = dots;
  while (!rest.empty()) {
    if (!at->is_object()) break;
    size_t length = rest.size();
    while (length != 0 && !at->contains(rest.substr(0, length))) {
      const size_t dot = rest.rfind('.', length - 1);
      length = dot == std::string::npos || dot >= length ? 0 : dot;
    }
    if (length == 0) break;
    const std::string key = rest.substr(0, length);
    pointer += "/" + PointerToken(key);
    at = &(*at)[key];
    rest = length >= rest.size() ? "" : rest.substr(length + 1);
  }
  if (pointer.empty()) return std::nullopt;
  return pointer;
}

}  // namespace

absl::Status Located(const absl::Status& status, const std::string& text, const std::string& file) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (status.ok() || !detail.has_value()) return status;
  const absl::StatusOr<JsonPositions> positions = JsonPositions::Scan(text, file);
  if (!positions.ok()) return status;
  constexpr size_t kKeyMark = sizeof("#key:") - 1;
  if (absl::StartsWith(detail->where, "#key:")) {
    detail->where = Where(file, positions->OfKey(detail->where.substr(kKeyMark)));
  } else if (absl::StartsWith(detail->where, "#")) {
    detail->where = Where(file, positions->OfValue(detail->where.substr(1)));
  } else {
    const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
    if (!document.is_object()) return status;
    const std::optional<std::string> pointer = PointerOfDots(document, detail->where);
    if (!pointer.has_value()) return status;
    detail->where = Where(file, positions->OfKey(*pointer));
  }
  return MakeError(status.code(), *std::move(detail));
}

absl::Status WithPointerPrefix(const absl::Status& status, const std::string& prefix) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (status.ok() || !detail.has_value()) return status;
  if (absl::StartsWith(detail->where, "#key:")) {
    detail->where = "#key:" + prefix + detail->where.substr(sizeof("#key:") - 1);
  } else if (absl::StartsWith(detail->where, "#")) {
    detail->where = "#" + prefix + detail->where.substr(1);
  } else if (detail->where.empty()) {
    detail->where = "#" + prefix;
  }
  return MakeError(status.code(), *std::move(detail));
}

}  // namespace rung
