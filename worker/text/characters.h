// What kind a character is, as Hugging Face's `tokenizers` sees it. Its libraries link Unicode tables of
// their own, older than ICU's: where that changes ids, the functions go by the older table. Pure functions;
// thread-safe.
#pragma once

namespace rung {

// White_Space.
bool IsBlank(char32_t c);

// Its general categories are those of Unicode 8.0.
bool IsPunctuation(char32_t c);
bool IsNonspacingMark(char32_t c);
bool IsControlOrFormat(char32_t c);  // Cc, Cf or Co

// Letters, digits, marks and connectors: what may not stand beside an added token that is a "single word".
bool IsWordCharacter(char32_t c);

// In lower case by itself, as Rust's char::to_lowercase: no final sigma, no locale. U+0130 alone becomes two
// characters: its second is U+0307.
char32_t LowerCharacter(char32_t c);
inline constexpr char32_t kDottedCapitalI = 0x130;

}  // namespace rung
