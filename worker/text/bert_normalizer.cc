#include "worker/text/bert_normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf16.h>

#include <algorithm>

#include "base/check.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

// The category tables that `tokenizers` links are those of Unicode 8.0; what came later is unassigned to it,
// and unassigned characters are kept as they are.
constexpr int kCategoryUnicodeMajor = 8;

uint32_t CategoryMask(char32_t c) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  if (age[0] > kCategoryUnicodeMajor) return U_GC_CN_MASK;
  switch (c) {  // what later versions put into another category
    case 0x166D:
    case 0x111C9:
      return U_GC_PO_MASK;
    case 0x1734:
      return U_GC_MN_MASK;
    case 0x1885:
    case 0x1886:
      return U_GC_LO_MASK;
    case 0xA9BD:
      return U_GC_MC_MASK;
    default:
      break;
  }
  return U_GET_GC_MASK(static_cast<UChar32>(c));
}

bool IsBlank(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

bool IsDropped(char32_t c) {
  if (c == 0 || c == 0xFFFD) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return (CategoryMask(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

// The blocks of tokenization.py; the start of the sixth is the typing error of `tokenizers` (U+2B820 in the
// original).
bool IsChinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool IsPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return (CategoryMask(c) & U_GC_P_MASK) != 0;
}

std::u32string StripAccents(const std::u32string& text) {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; })) return text;
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
    if ((CategoryMask(static_cast<char32_t>(c)) & U_GC_MN_MASK) == 0) out.push_back(static_cast<char32_t>(c));
  }
  return out;
}

// Each character by itself, as Rust's char::to_lowercase: no final sigma, no locale.
std::u32string Lower(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0x130) {  // the only one whose lower case is two characters
      out += U"i\u0307";
    } else {
      out.push_back(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
    }
  }
  return out;
}

}  // namespace

std::u32string Normalize(const BertNormalizer& normalizer, std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (char32_t c : FromUtf8(text)) {
    if (normalizer.clean_text) {
      if (IsDropped(c)) continue;
      if (IsBlank(c)) c = ' ';
    }
    if (normalizer.handle_chinese_chars && IsChinese(c)) {
      out += {U' ', c, U' '};
    } else {
      out.push_back(c);
    }
  }
  if (normalizer.strip_accents) out = StripAccents(out);
  if (normalizer.lowercase) out = Lower(out);
  return out;
}

std::vector<std::string> SplitWords(const std::u32string& normalized) {
  std::vector<std::string> words;
  bool open = false;
  for (const char32_t c : normalized) {
    if (IsBlank(c)) {
      open = false;
      continue;
    }
    const bool punctuation = IsPunctuation(c);
    if (!open || punctuation) words.emplace_back();
    AppendUtf8(c, &words.back());
    open = !punctuation;
  }
  return words;
}

bool IsWordCharacter(char32_t c) {
  const UChar32 code = static_cast<UChar32>(c);
  return u_hasBinaryProperty(code, UCHAR_ALPHABETIC) || u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(code) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

}  // namespace rung
