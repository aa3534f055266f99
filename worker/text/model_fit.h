// Whether tokenizer, model and data go together: asked before a study is stored, and again by each attempt.
// Thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/text/model_config.h"
#include "worker/text/tokenizer.h"

namespace rung {

// `pairs`: each row has two texts. InvalidArgument: E0421 (tokens without embeddings), E0434 (no token type
// for the second text).
absl::Status CheckModelFit(const Tokenizer& tokenizer, const ModelConfig& model, const std::string& directory,
                           bool pairs);

}  // namespace rung
