#include "worker/text/tokenizer.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"
#include "worker/text/wordpiece.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;
constexpr int64_t kMaxVocabulary = 10'000'000;

absl::Status Malformed(
    const std::string& path, const std::string& message, const std::string& value = "",
    const std::string& mend = "Use the tokenizer files of the model as they were published") {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0421", message, path, value, mend});
}

std::string Text(const json& object, const char* key, const std::string& fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : fallback;
}

bool Flag(const json& object, const char* key, bool fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

absl::StatusOr<json> ReadObject(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  json parsed = ParseJson(text);
  if (parsed.is_discarded() || !parsed.is_object()) return Malformed(path, "the file is not a JSON object");
  return parsed;
}

bool IsId(const json& value) {
  return value.is_number_integer() && value >= 0 && value.get<int64_t>() < kMaxVocabulary;
}

absl::Status ReadNormalizer(const json& file, const std::string& path, WordPieceParts* parts) {
  const json normalizer = file.value("normalizer", json());
  if (normalizer.is_null()) {
    parts->normalize = false;
    return absl::OkStatus();
  }
  const std::string type = normalizer.is_object() ? Text(normalizer, "type", "") : "";
  if (type != "BertNormalizer") {
    return Malformed(path, absl::StrFormat("normalizer.type \"%s\" is not supported", type), type,
                     "Use a model whose normalizer is BertNormalizer");
  }
  BertNormalizer& out = parts->normalizer;
  out.clean_text = Flag(normalizer, "clean_text", true);
  out.handle_chinese_chars = Flag(normalizer, "handle_chinese_chars", true);
  out.lowercase = Flag(normalizer, "lowercase", true);
  out.strip_accents = Flag(normalizer, "strip_accents", out.lowercase);
  return absl::OkStatus();
}

absl::Status ReadModel(const json& file, const std::string& path, WordPieceParts* parts) {
  const json model = file.value("model", json::object());
  // Files written before `tokenizers` 0.10 have no model.type.
  const std::string type =
      model.is_object() ? Text(model, "type", model.contains("merges") ? "BPE" : "WordPiece") : "";
  if (type != "WordPiece") {
    return Malformed(path, absl::StrFormat("model.type \"%s\" is not supported", type), type,
                     "Use a model with a WordPiece tokenizer (the BERT family)");
  }
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object() || vocabulary->empty()) {
    return Malformed(path, "model.vocab is missing or empty");
  }
  for (const auto& [token, id] : vocabulary->items()) {
    if (!IsId(id))
      return Malformed(path, absl::StrFormat("model.vocab[\"%s\"] is not an id", token), id.dump());
    parts->vocabulary.emplace(token, id.get<int32_t>());
  }
  parts->continuing_prefix = Text(model, "continuing_subword_prefix", "##");
  const auto longest = model.find("max_input_chars_per_word");
  if (longest != model.end()) {
    if (!IsId(*longest))
      return Malformed(path, "model.max_input_chars_per_word is not a count", longest->dump());
    parts->max_characters_per_word = longest->get<int>();
  }
  const std::string unknown = Text(model, "unk_token", "[UNK]");
  const auto found = parts->vocabulary.find(unknown);
  if (found == parts->vocabulary.end()) {
    return Malformed(path, absl::StrFormat("model.unk_token %s is not in the vocabulary", unknown), unknown);
  }
  parts->unknown_id = found->second;
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& file, const std::string& path, WordPieceParts* parts) {
  for (const json& token : file.value("added_tokens", json::array())) {
    if (!token.is_object() || !token.contains("id") || !IsId(token["id"]) ||
        Text(token, "content", "").empty()) {
      return Malformed(path, "an entry of added_tokens has no id or no content", token.dump());
    }
    parts->added.push_back({token["content"].get<std::string>(), token["id"].get<int32_t>(),
                            Flag(token, "normalized", false), Flag(token, "single_word", false)});
  }
  return absl::OkStatus();
}

std::optional<int32_t> IdOf(const WordPieceParts& parts, const std::string& token) {
  for (const AddedToken& added : parts.added) {
    if (added.content == token) return added.id;
  }
  const auto found = parts.vocabulary.find(token);
  if (found == parts.vocabulary.end()) return std::nullopt;
  return found->second;
}

absl::Status SetSpecialTokens(const std::string& path, const std::string& cls, const std::string& sep,
                              WordPieceParts* parts) {
  const std::optional<int32_t> cls_id = IdOf(*parts, cls);
  const std::optional<int32_t> sep_id = IdOf(*parts, sep);
  if (!cls_id || !sep_id) {
    const std::string& missing = cls_id ? sep : cls;
    return Malformed(path, absl::StrFormat("the vocabulary has no %s", missing), missing);
  }
  parts->cls_id = *cls_id;
  parts->sep_id = *sep_id;
  return absl::OkStatus();
}

// "[CLS]:0 A:0 [SEP]:0" for a template of the post-processor.
std::string TemplateText(const json& pieces) {
  std::string out;
  for (const json& piece : pieces) {
    if (!piece.is_object() || piece.size() != 1 || !piece.begin()->is_object()) return "?";
    const json& value = *piece.begin();
    const json type = value.value("type_id", json(0));
    out += absl::StrFormat("%s%s:%s", out.empty() ? "" : " ", Text(value, "id", "?"), type.dump());
  }
  return out;
}

absl::Status ReadPostProcessor(const json& file, const std::string& path, WordPieceParts* parts) {
  const json processor = file.value("post_processor", json());
  if (processor.is_null()) return SetSpecialTokens(path, "[CLS]", "[SEP]", parts);
  const std::string type = processor.is_object() ? Text(processor, "type", "") : "";
  std::string cls, sep;
  if (type == "BertProcessing") {
    const json cls_pair = processor.value("cls", json()), sep_pair = processor.value("sep", json());
    if (cls_pair.is_array() && !cls_pair.empty() && cls_pair[0].is_string())
      cls = cls_pair[0].get<std::string>();
    if (sep_pair.is_array() && !sep_pair.empty() && sep_pair[0].is_string())
      sep = sep_pair[0].get<std::string>();
    return SetSpecialTokens(path, cls, sep, parts);
  }
  if (type != "TemplateProcessing") {
    return Malformed(path, absl::StrFormat("post_processor.type \"%s\" is not supported", type), type,
                     "Use a model with BertProcessing or TemplateProcessing");
  }
  const json single = processor.value("single", json::array()), pair = processor.value("pair", json::array());
  if (single.is_array() && single.size() == 3 && single[0].contains("SpecialToken") &&
      single[2].contains("SpecialToken")) {
    cls = Text(single[0]["SpecialToken"], "id", "");
    sep = Text(single[2]["SpecialToken"], "id", "");
  }
  const bool known = TemplateText(single) == absl::StrFormat("%s:0 A:0 %s:0", cls, sep) &&
                     TemplateText(pair) == absl::StrFormat("%s:0 A:0 %s:0 B:1 %s:1", cls, sep, sep);
  if (!known) {
    return Malformed(path, "post_processor has a template other than BERT's [CLS] A [SEP] B [SEP]",
                     TemplateText(single), "Use a model whose special tokens stand as in BERT");
  }
  return SetSpecialTokens(path, cls, sep, parts);
}

absl::StatusOr<WordPieceParts> FromTokenizerJson(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const json file, ReadObject(path));
  WordPieceParts parts;
  RUNG_RETURN_IF_ERROR(ReadModel(file, path, &parts));
  RUNG_RETURN_IF_ERROR(ReadNormalizer(file, path, &parts));
  const json splitter = file.value("pre_tokenizer", json());
  const std::string type = splitter.is_object() ? Text(splitter, "type", "") : "";
  if (type != "BertPreTokenizer") {
    return Malformed(path, absl::StrFormat("pre_tokenizer.type \"%s\" is not supported", type), type,
                     "Use a model whose pre_tokenizer is BertPreTokenizer");
  }
  RUNG_RETURN_IF_ERROR(ReadAddedTokens(file, path, &parts));
  RUNG_RETURN_IF_ERROR(ReadPostProcessor(file, path, &parts));
  return parts;
}

absl::Status ReadVocabulary(const std::string& path, Vocabulary* vocabulary) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  int32_t id = 0;
  for (size_t start = 0; start < text.size(); ++id) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    size_t last = end;
    if (last > start && text[last - 1] == '\r') --last;
    // A token that stands twice has its last id, as in `transformers`.
    (*vocabulary)[text.substr(start, last - start)] = id;
    start = end + 1;
  }
  if (vocabulary->empty()) return Malformed(path, "the vocabulary is empty");
  return absl::OkStatus();
}

// A special token's name: a string, or an object with "content" (older files).
std::string SpecialToken(const json& config, const char* key, const std::string& fallback) {
  const auto found = config.find(key);
  if (found == config.end()) return fallback;
  return found->is_object() ? Text(*found, "content", fallback) : Text(config, key, fallback);
}

absl::StatusOr<WordPieceParts> FromVocabulary(const std::string& path, const std::string& config_path) {
  WordPieceParts parts;
  RUNG_RETURN_IF_ERROR(ReadVocabulary(path, &parts.vocabulary));
  json config = json::object();
  if (std::filesystem::exists(config_path)) {
    RUNG_ASSIGN_OR_RETURN(config, ReadObject(config_path));
  }
  parts.normalizer.lowercase = Flag(config, "do_lower_case", true);
  parts.normalizer.handle_chinese_chars = Flag(config, "tokenize_chinese_chars", true);
  parts.normalizer.strip_accents = Flag(config, "strip_accents", parts.normalizer.lowercase);
  const std::string unknown = SpecialToken(config, "unk_token", "[UNK]");
  const std::string cls = SpecialToken(config, "cls_token", "[CLS]");
  const std::string sep = SpecialToken(config, "sep_token", "[SEP]");
  const auto unknown_id = IdOf(parts, unknown);
  if (!unknown_id) return Malformed(path, absl::StrFormat("the vocabulary has no %s", unknown), unknown);
  parts.unknown_id = *unknown_id;
  RUNG_RETURN_IF_ERROR(SetSpecialTokens(path, cls, sep, &parts));
  for (const std::string& token : {unknown, cls, sep, SpecialToken(config, "pad_token", "[PAD]"),
                                   SpecialToken(config, "mask_token", "[MASK]")}) {
    if (const auto id = IdOf(parts, token)) parts.added.push_back({token, *id, false, false});
  }
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_directory) {
  const std::string whole = model_directory + "/tokenizer.json";
  const std::string vocabulary = model_directory + "/vocab.txt";
  if (std::filesystem::exists(whole)) {
    RUNG_ASSIGN_OR_RETURN(WordPieceParts parts, FromTokenizerJson(whole));
    return std::make_unique<WordPieceTokenizer>(std::move(parts));
  }
  if (std::filesystem::exists(vocabulary)) {
    RUNG_ASSIGN_OR_RETURN(WordPieceParts parts,
                          FromVocabulary(vocabulary, model_directory + "/tokenizer_config.json"));
    return std::make_unique<WordPieceTokenizer>(std::move(parts));
  }
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0420", "the model directory has neither tokenizer.json nor vocab.txt", model_directory,
                    model_directory, "Copy the tokenizer files of the model into its directory"});
}

}  // namespace rung
