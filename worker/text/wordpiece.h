// WordPiece (Devlin et al. 2019): each word is cut into the longest known pieces, from the left. Immutable;
// thread-safe.
#pragma once

#include <string>

#include "worker/text/piece_trie.h"
#include "worker/text/subword_model.h"

namespace rung {

struct WordPieceParts {
  Vocabulary vocabulary;
  std::string continuing_prefix = "##";
  int max_characters_per_word = 100;
  int32_t unknown_id = 0;
};

class WordPieceModel final : public SubwordModel {
 public:
  explicit WordPieceModel(const WordPieceParts& parts);
  void Encode(std::string_view word, std::vector<int32_t>* ids) const override;

 private:
  const PieceTrie beginnings_;
  const PieceTrie continuations_;  // without their prefix
  const size_t max_characters_;
  const int32_t unknown_id_;
};

}  // namespace rung
