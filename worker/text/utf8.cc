#include "worker/text/utf8.h"

namespace rung {

std::optional<char32_t> NextCharacter(std::string_view text, size_t* position) {
  const auto lead = static_cast<unsigned char>(text[(*position)++]);
  if (lead < 0x80) return static_cast<char32_t>(lead);
  size_t more = 0;
  char32_t smallest = 0;
  if (lead >= 0xC2 && lead < 0xE0) {
    more = 1, smallest = 0x80;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    more = 2, smallest = 0x800;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    more = 3, smallest = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() - *position < more) return std::nullopt;
  char32_t character = lead & (0x3Fu >> more);
  for (size_t i = 0; i < more; ++i) {
    const char byte = text[*position + i];
    if (!ContinuesCharacter(byte)) return std::nullopt;
    character = character << 6 | (static_cast<unsigned char>(byte) & 0x3Fu);
  }
  const bool surrogate = character >= 0xD800 && character < 0xE000;
  if (character < smallest || character > 0x10FFFF || surrogate) return std::nullopt;
  *position += more;
  return character;
}

std::u32string FromUtf8(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) out.push_back(NextCharacter(text, &i).value_or(0xFFFD));
  return out;
}

void AppendUtf8(char32_t character, std::string* out) {
  const auto continuation = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | ((character >> shift) & 0x3F)));
  };
  if (character < 0x80) {
    out->push_back(static_cast<char>(character));
  } else if (character < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (character >> 6)));
    continuation(0);
  } else if (character < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (character >> 12)));
    continuation(6);
    continuation(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | (character >> 18)));
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

std::string ToUtf8(const std::u32string& text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t character : text) AppendUtf8(character, &out);
  return out;
}

std::string Utf16Name(std::string_view bytes) {
  if (bytes.substr(0, 2) == "\xFF\xFE" || bytes.substr(0, 2) == "\xFE\xFF") return "UTF-16";
  if (bytes.size() < 4) return "";
  const auto nul = [bytes](size_t i) { return bytes[i] == '\0'; };
  if (!nul(0) && nul(1) && !nul(2) && nul(3)) return "UTF-16LE";
  if (nul(0) && !nul(1) && nul(2) && !nul(3)) return "UTF-16BE";
  return "";
}

}  // namespace rung
