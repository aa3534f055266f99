#include "worker/text/characters.h"

#include <unicode/uchar.h>

#include <cstdint>

namespace rung {
namespace {

// What came later is unassigned to the category tables that `tokenizers` links.
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

}  // namespace

bool IsBlank(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

bool IsPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  return (CategoryMask(c) & U_GC_P_MASK) != 0;
}

bool IsNonspacingMark(char32_t c) {
  return c >= 0x300 && (CategoryMask(c) & U_GC_MN_MASK) != 0;
}

bool IsControlOrFormat(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  return (CategoryMask(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool IsWordCharacter(char32_t c) {
  const UChar32 code = static_cast<UChar32>(c);
  return u_hasBinaryProperty(code, UCHAR_ALPHABETIC) || u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(code) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

char32_t LowerCharacter(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  if (c == kDottedCapitalI) return U'i';
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
}

}  // namespace rung
