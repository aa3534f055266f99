// What a tokenizer does to a text before it cuts it: the normalizers of Hugging Face's `tokenizers`, one
// after the other. Values; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "worker/text/bert_normalizer.h"
#include "worker/text/charsmap.h"

namespace rung {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };
struct Lowercase {};
struct StripAccents {};  // drops marks
struct StripBlanks {
  bool left = true, right = true;
};
struct Prepend {
  std::string text;
};
struct ReplaceText {
  std::string from, to;
};
// The regular expressions that published tokenizers replace.
enum class BlankPattern {
  kSpaces,        // " {2,}"
  kBlanks,        // "\s+"
  kBlanksOrLines  // "\s{2,}|[\n\r\t]"
};
struct ReplaceBlanks {
  BlankPattern pattern = BlankPattern::kSpaces;
  std::string to;
};

using NormalizerStep = std::variant<BertNormalizer, UnicodeForm, Lowercase, StripAccents, StripBlanks,
                                    Prepend, ReplaceText, ReplaceBlanks, Charsmap>;

// UTF-8 in and out. Malformed bytes may become U+FFFD.
std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

}  // namespace rung
