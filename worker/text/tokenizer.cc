#include "worker/text/tokenizer.h"

#include <filesystem>
#include <utility>

#include "base/status.h"
#include "worker/text/tokenizer_json.h"

namespace rung {

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_directory) {
  const auto path = [&](const char* name) { return model_directory + "/" + name; };
  const auto exists = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(path(name), ignored);
  };
  TokenizerParts parts;
  if (exists("tokenizer.json")) {
    RUNG_ASSIGN_OR_RETURN(parts, PartsFromTokenizerJson(path("tokenizer.json")));
    return std::make_unique<PipelineTokenizer>(std::move(parts));
  }
  nlohmann::json config = nlohmann::json::object();
  if (exists("tokenizer_config.json")) {
    RUNG_ASSIGN_OR_RETURN(config, ReadTokenizerObject(path("tokenizer_config.json")));
  }
  if (exists("vocab.txt")) {
    RUNG_ASSIGN_OR_RETURN(parts, PartsFromWordList(path("vocab.txt"), config));
  } else if (exists("vocab.json") && exists("merges.txt")) {
    RUNG_ASSIGN_OR_RETURN(parts, PartsFromMerges(path("vocab.json"), path("merges.txt"), config));
  } else {
    return MakeError(
        absl::StatusCode::kNotFound,
        {"E0420",
         "the model directory has neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt",
         model_directory, model_directory, "Copy the tokenizer files of the model into its directory"});
  }
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace rung
