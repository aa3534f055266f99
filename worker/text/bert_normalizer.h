// The BERT normaliser on ICU, equal to Hugging Face's `tokenizers` (BertNormalizer; after
// google-research/bert, tokenization.py). Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace rung {

struct BertNormalizer {
  bool clean_text = true;            // drops controls, makes every blank a space
  bool handle_chinese_chars = true;  // spaces around CJK ideographs
  bool strip_accents = true;         // NFD, then non-spacing marks are dropped
  bool lowercase = true;
};

// UTF-8 in and out. Malformed bytes count as U+FFFD.
std::string NormalizeBert(const BertNormalizer& normalizer, std::string_view text);

}  // namespace rung
