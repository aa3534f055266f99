// Unigram (Kudo 2018): the segmentation of the highest probability, by Viterbi; equal to Hugging Face's
// `tokenizers` (which follows sentencepiece's EncodeOptimized). Immutable; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "worker/text/piece_trie.h"
#include "worker/text/subword_model.h"

namespace rung {

struct UnigramParts {
  std::vector<std::pair<std::string, double>> pieces;  // id = position; log probability
  int32_t unknown_id = 0;                              // neighbours that are unknown become one
  bool byte_fallback = false;                          // unknown characters become their bytes, <0x41>
};

class UnigramModel final : public SubwordModel {
 public:
  explicit UnigramModel(const UnigramParts& parts);
  void Encode(std::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  void AppendUnknown(std::string_view text, std::vector<int32_t>* ids) const;

  const PieceTrie trie_;
  std::vector<double> scores_;
  const int32_t unknown_id_;
  double unknown_score_ = 0;
  std::vector<int32_t> byte_ids_;  // 256, or empty: no fallback
};

}  // namespace rung
