// UTF-8, strictly: no overlong forms, surrogates or values above U+10FFFF. Pure functions; thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace rung {

// The character that starts at *position, which moves on behind it; nullopt where no valid one starts
// (*position moves on by one byte). *position must be < text.size().
std::optional<char32_t> NextCharacter(std::string_view text, size_t* position);

// Malformed bytes become U+FFFD.
std::u32string FromUtf8(std::string_view text);

void AppendUtf8(char32_t character, std::string* out);
std::string ToUtf8(const std::u32string& text);

// What iconv calls the UTF-16 that `bytes` are: those with a byte order mark, or, as of a text that begins
// with ASCII, with a NUL in every other one of the first four. Empty where they are none.
std::string Utf16Name(std::string_view bytes);

inline bool ContinuesCharacter(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

}  // namespace rung
