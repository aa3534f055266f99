// The BERT normaliser and pre-tokeniser on ICU, equal to Hugging Face's `tokenizers` (BertNormalizer,
// BertPreTokenizer; after google-research/bert, tokenization.py). Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rung {

struct BertNormalizer {
  bool clean_text = true;            // drops controls, makes every blank a space
  bool handle_chinese_chars = true;  // spaces around CJK ideographs
  bool strip_accents = true;         // NFD, then non-spacing marks are dropped
  bool lowercase = true;
};

// UTF-8 in, code points out. Malformed bytes count as U+FFFD.
std::u32string Normalize(const BertNormalizer& normalizer, std::string_view text);

// The words as UTF-8: split at blanks, every punctuation mark a word of its own.
std::vector<std::string> SplitWords(const std::u32string& normalized);

// Letters, digits, marks and connectors: what may not stand beside an added token that is a "single word".
bool IsWordCharacter(char32_t c);

}  // namespace rung
