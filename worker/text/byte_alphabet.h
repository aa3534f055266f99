// How byte-level vocabularies write bytes as printable characters (Radford et al. 2019, bytes_to_unicode).
// Pure functions; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rung {

// The character that stands for a byte.
char32_t ByteCharacter(unsigned char byte);

// The bytes that `text` stands for; nullopt if a character stands for none.
std::optional<std::string> BytesOf(std::string_view text);

}  // namespace rung
