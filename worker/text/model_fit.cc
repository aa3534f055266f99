#include "worker/text/model_fit.h"

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {

absl::Status CheckModelFit(const Tokenizer& tokenizer, const ModelConfig& model, const std::string& directory,
                           bool pairs) {
  if (tokenizer.vocabulary_size() > model.vocab_size) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0421",
                      absl::StrFormat("the tokenizer has %d tokens, the model only %d embeddings",
                                      tokenizer.vocabulary_size(), model.vocab_size),
                      directory, absl::StrFormat("%d", tokenizer.vocabulary_size()),
                      "Use the tokenizer files of this model"});
  }
  if (pairs && TypesTellPairs(model.family) && model.type_vocab_size < 2) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0434", "the model has no token type for a second text", directory + "/config.json",
                      absl::StrFormat("type_vocab_size = %d", model.type_vocab_size),
                      "Name one text column, or use a model that was trained on pairs"});
  }
  return absl::OkStatus();
}

}  // namespace rung
