// Text to token ids, equal to Hugging Face's `tokenizers`. WordPiece (Devlin et al. 2019; the BERT normaliser
// and pre-tokeniser as in google-research/bert tokenization.py). Immutable after loading; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
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
  // [CLS] a [SEP] or [CLS] a [SEP] b [SEP], truncated longest-first so that the whole has at most max_tokens.
  // token_types gets 0 for the first segment and 1 for the second.
  virtual std::vector<int32_t> EncodeForModel(std::string_view text, std::string_view pair, int max_tokens,
                                              std::vector<int32_t>* token_types) const = 0;
  virtual int vocabulary_size() const = 0;
};

// From tokenizer.json (its truncation and padding are not obeyed), else vocab.txt (+ tokenizer_config.json
// for do_lower_case). Errors: NotFound (E0420: no tokenizer in the directory), InvalidArgument (E0421: what
// is wrong in which file, unsupported model types are named).
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_directory);

}  // namespace rung
