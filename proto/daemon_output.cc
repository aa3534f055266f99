#include "proto/daemon_output.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "proto/error_text.h"

namespace rung {
namespace {

void Print(const std::string& text) {
  // One call: lines of several processes on one terminal do not mix.
  std::fwrite(text.data(), 1, text.size(), stderr);
}

// C0 but tab, DEL, C1, and what reorders, breaks or hides in a line where it is shown.
bool DrivesTerminal(char32_t c) {
  const bool control = (c < 0x20 && c != '\t') || (c >= 0x7F && c <= 0x9F);
  const bool breaks = c == 0x2028 || c == 0x2029;
  const bool reorders = c == 0x061C || (c >= 0x202A && c <= 0x202E);
  const bool hides = c == 0x180E || (c >= 0x200B && c <= 0x200F) || (c >= 0x2060 && c <= 0x206F) ||
                     c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
  return control || breaks || reorders || hides;
}

struct Character {
  char32_t code = 0;
  size_t bytes = 0;  // 0: none begins there
};

// Strict, as worker/text/utf8.h, which the daemons' messages cannot reach.
Character CharacterAt(const std::string& text, size_t at) {
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};  // of so many bytes
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead > 0xF7 || text.size() - at < bytes) return {};
  char32_t code = lead & (0x7Fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    const auto byte = static_cast<unsigned char>(text[at + i]);
    if ((byte & 0xC0) != 0x80) return {};
    code = code << 6 | (byte & 0x3Fu);
  }
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kLeast[bytes] || code > 0x10FFFF || surrogate) return {};
  return {code, bytes};
}

}  // namespace

bool WantsJson() {
  const char* format = std::getenv(kErrorFormatVariable);
  return format != nullptr && std::string(format) == "json";
}

std::string OneLine(const std::string& text) {
  std::string safe;
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    if (character.bytes == 0) {
      safe += absl::StrFormat("\\x%02x", static_cast<unsigned char>(text[at]));
    } else if (character.code == '\r') {
      safe += "\\r";
    } else if (character.code == '\n') {
      safe += "\\n";
    } else if (DrivesTerminal(character.code)) {
      const auto code = static_cast<uint32_t>(character.code);
      safe += code < 0x80      ? absl::StrFormat("\\x%02x", code)
              : code < 0x10000 ? absl::StrFormat("\\u%04x", code)
                               : absl::StrFormat("\\U%08x", code);
    } else {
      safe.append(text, at, character.bytes);
    }
    at += std::max<size_t>(character.bytes, 1);
  }
  return safe;
}

void TellPerson(const std::string& line) {
  if (!WantsJson()) Print(OneLine(line) + "\n");
}

std::string DaemonErrorText(const absl::Status& status, bool json) {
  return ErrorText(status, json, OneLine);
}

void PrintDaemonError(const absl::Status& status) {
  Print(DaemonErrorText(status, WantsJson()));
}

void SilenceGrpc() {
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
}

}  // namespace rung
