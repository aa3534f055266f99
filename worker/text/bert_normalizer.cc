#include "worker/text/bert_normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>
#include <unicode/utf16.h>

#include <algorithm>

#include "base/check.h"
#include "worker/text/characters.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

bool IsDropped(char32_t c) {
  if (c == 0 || c == 0xFFFD) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return IsControlOrFormat(c);
}

// The blocks of tokenization.py; the start of the sixth is the typing error of `tokenizers` (U+2B820 in the
// original).
bool IsChinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

std::u32string StripAccents(const std::u32string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(error);
  RUNG_CHECK(U_SUCCESS(error), "ICU carries its NFD data");
  const icu::UnicodeString source = icu::UnicodeString::fromUTF32(
      reinterpret_cast<const UChar32*>(text.data()), static_cast<int32_t>(text.size()));
  const icu::UnicodeString decomposed = nfd->normalize(source, error);
  RUNG_CHECK(U_SUCCESS(error), "NFD of valid code points");
  std::u32string out;
  out.reserve(text.size());
  for (int32_t i = 0; i < decomposed.length();) {
    const UChar32 c = decomposed.char32At(i);
    i += U16_LENGTH(c);
    if (!IsNonspacingMark(static_cast<char32_t>(c))) out.push_back(static_cast<char32_t>(c));
  }
  return out;
}

// The same for a text without accents or Chinese characters: most of them.
std::string NormalizeAscii(const BertNormalizer& normalizer, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char byte : text) {
    auto c = static_cast<char32_t>(byte);
    if (normalizer.clean_text) {
      if (IsDropped(c)) continue;
      if (IsBlank(c)) c = ' ';
    }
    out.push_back(static_cast<char>(normalizer.lowercase ? LowerCharacter(c) : c));
  }
  return out;
}

}  // namespace

std::string NormalizeBert(const BertNormalizer& normalizer, std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) return NormalizeAscii(normalizer, text);
  std::u32string cleaned;
  cleaned.reserve(text.size());
  for (char32_t c : FromUtf8(text)) {
    if (normalizer.clean_text) {
      if (IsDropped(c)) continue;
      if (IsBlank(c)) c = ' ';
    }
    if (normalizer.handle_chinese_chars && IsChinese(c)) {
      cleaned += {U' ', c, U' '};
    } else {
      cleaned.push_back(c);
    }
  }
  if (normalizer.strip_accents) cleaned = StripAccents(cleaned);
  if (!normalizer.lowercase) return ToUtf8(cleaned);
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : cleaned) {
    AppendUtf8(LowerCharacter(c), &out);
    if (c == kDottedCapitalI) AppendUtf8(0x307, &out);
  }
  return out;
}

}  // namespace rung
