// WordPiece with its special and added tokens: the tokenizer of BERT. Made by LoadTokenizer (tokenizer.h) or,
// in tests, by hand. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/text/bert_normalizer.h"
#include "worker/text/tokenizer.h"

namespace rung {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

// A token that is found in the text before anything else is split ("[SEP]" typed by a person is the
// separator).
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool normalized = false;   // looked for in the normalised text, else in the text as it is
  bool single_word = false;  // only where no word character stands beside it
};

struct WordPieceParts {
  BertNormalizer normalizer;
  bool normalize = true;  // false: tokenizer.json has no normaliser
  Vocabulary vocabulary;
  std::vector<AddedToken> added;
  std::string continuing_prefix = "##";
  int max_characters_per_word = 100;
  int32_t unknown_id = 0, cls_id = 0, sep_id = 0;
};

class WordPieceTokenizer final : public Tokenizer {
 public:
  explicit WordPieceTokenizer(WordPieceParts parts);
  std::vector<int32_t> Encode(std::string_view text) const override;
  std::vector<int32_t> EncodeForModel(std::string_view text, std::string_view pair, int max_tokens,
                                      std::vector<int32_t>* token_types) const override;
  int vocabulary_size() const override { return size_; }

 private:
  void EncodeWords(const std::u32string& normalized, std::vector<int32_t>* ids) const;
  void EncodeWord(const std::string& word, std::vector<int32_t>* ids) const;
  void EncodeSegment(std::string_view text, std::vector<int32_t>* ids) const;

  const WordPieceParts parts_;
  std::vector<AddedToken> raw_;         // found in the text as it is
  std::vector<AddedToken> normalized_;  // found after normalisation; their contents are normalised
  int size_ = 0;
};

}  // namespace rung
