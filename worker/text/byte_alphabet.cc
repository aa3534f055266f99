#include "worker/text/byte_alphabet.h"

#include <array>

#include "worker/text/utf8.h"

namespace rung {
namespace {

constexpr bool IsPrintable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

// Printable bytes of Latin-1 stand for themselves, the others for the characters from U+0100 on, in order.
constexpr std::array<char32_t, 256> MakeCharacters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<size_t>(byte)] = IsPrintable(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = MakeCharacters();
constexpr size_t kLastCharacter = 0x143;  // 68 bytes are not printable

constexpr std::array<int16_t, kLastCharacter + 1> MakeBytes() {
  std::array<int16_t, kLastCharacter + 1> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kCharacters[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

constexpr std::array<int16_t, kLastCharacter + 1> kBytes = MakeBytes();

}  // namespace

char32_t ByteCharacter(unsigned char byte) {
  return kCharacters[byte];
}

std::optional<std::string> BytesOf(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const std::optional<char32_t> character = NextCharacter(text, &i);
    if (!character || *character > kLastCharacter || kBytes[*character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[*character]));
  }
  return bytes;
}

}  // namespace rung
