// Text to token ids, equal to Hugging Face's `tokenizers`: WordPiece (BERT, DistilBERT, ELECTRA), byte-level
// BPE (RoBERTa), Unigram (XLM-R, ALBERT, DeBERTa-v3). Immutable after loading; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids without special tokens, not truncated. Input is valid UTF-8 (worker/text/dataset.h checks it).
  virtual std::vector<int32_t> Encode(std::string_view text) const = 0;
  // With the model's special tokens ([CLS] a [SEP], <s> a </s></s> b </s>, ...), truncated longest-first so
  // that the whole has at most max_tokens. A pair may be an empty text. token_types gets each token's segment
  // as the tokenizer's template says: 0 and 1 for BERT's pairs, 0 alone for RoBERTa.
  virtual std::vector<int32_t> EncodeForModel(std::string_view text, std::optional<std::string_view> pair,
                                              int max_tokens, std::vector<int32_t>* token_types) const = 0;
  // One more than the largest id.
  virtual int vocabulary_size() const = 0;
};

// From tokenizer.json (its truncation and padding are not obeyed), else from the vocabulary alone: vocab.txt
// (WordPiece) or vocab.json with merges.txt (byte-level BPE), with tokenizer_config.json beside it. Errors:
// NotFound (E0420: no tokenizer in the directory), InvalidArgument (E0421: what is wrong in which file;
// unsupported types are named).
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_directory);

}  // namespace rung
