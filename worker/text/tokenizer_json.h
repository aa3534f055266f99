// The parts of a tokenizer from tokenizer.json or from vocabulary files. Internal to worker/text.
// Thread-safe.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "worker/text/tokenizer_pipeline.h"

namespace rung {

// Errors: InvalidArgument (E0421), those of ReadFile.
absl::StatusOr<TokenizerParts> PartsFromTokenizerJson(const std::string& path);
// text: what stands in the file at `path`.
absl::StatusOr<TokenizerParts> ParseTokenizerJson(const std::string& text, const std::string& path);

// vocab.txt of WordPiece. config: the object of tokenizer_config.json.
absl::StatusOr<TokenizerParts> PartsFromWordList(const std::string& path, const nlohmann::json& config);
// vocab.json and merges.txt of byte-level BPE.
absl::StatusOr<TokenizerParts> PartsFromMerges(const std::string& vocabulary_path,
                                               const std::string& merges_path, const nlohmann::json& config);

// The file must hold a JSON object.
absl::StatusOr<nlohmann::json> ReadTokenizerObject(const std::string& path);

// E0421: what is wrong with the file at `path`.
absl::Status MalformedTokenizer(
    const std::string& path, const std::string& message, const std::string& value = "",
    const std::string& mend = "Use the tokenizer files of the model as they were published");

// A member of a JSON object, or the fallback where it is missing or of another type.
std::string TextOf(const nlohmann::json& object, const char* key, const std::string& fallback);
bool FlagOf(const nlohmann::json& object, const char* key, bool fallback);

}  // namespace rung
