// A tokenizer of parts, as tokenizer.json describes it: added tokens, normaliser, pre-tokenizer, subword
// model, and the template of the model's input. Immutable; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/text/added_tokens.h"
#include "worker/text/normalizer.h"
#include "worker/text/pre_tokenizer.h"
#include "worker/text/subword_model.h"
#include "worker/text/tokenizer.h"

namespace rung {

// A place of the template: a text, or special tokens.
struct TemplatePiece {
  enum class Kind { kFirst, kSecond, kSpecial };
  Kind kind = Kind::kFirst;
  int32_t token_type = 0;
  std::vector<int32_t> ids;  // of kSpecial
};

struct TokenizerParts {
  std::vector<AddedToken> added;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  std::unique_ptr<SubwordModel> model;
  std::vector<TemplatePiece> single;  // kFirst once
  std::vector<TemplatePiece> pair;    // kFirst and kSecond once
  int vocabulary_size = 0;
};

enum class SpecialTokenStyle {
  kBert,    // cls A sep; cls A sep B sep with the types 0 and 1
  kRoberta  // cls A sep; cls A sep sep B sep, all of type 0
};
// Sets the templates.
void SetSpecialTokens(TokenizerParts* parts, int32_t cls, int32_t sep, SpecialTokenStyle style);

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);
  std::vector<int32_t> Encode(std::string_view text) const override;
  std::vector<int32_t> EncodeForModel(std::string_view text, std::optional<std::string_view> pair,
                                      int max_tokens, std::vector<int32_t>* token_types) const override;
  int vocabulary_size() const override { return parts_.vocabulary_size; }

 private:
  void EncodeSegment(std::string_view text, bool at_start, std::vector<int32_t>* ids) const;

  const TokenizerParts parts_;
  const AddedTokens raw_;         // found in the text as it is
  const AddedTokens normalized_;  // found after normalisation; their contents are normalised
};

}  // namespace rung
