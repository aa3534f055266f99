#include "worker/text/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/bpe.h"
#include "worker/text/json_file.h"
#include "worker/text/unigram.h"
#include "worker/text/utf8.h"
#include "worker/text/wordpiece.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;
constexpr int64_t kMaxVocabulary = 10'000'000;

bool IsId(const json& value) {
  return value.is_number_integer() && value >= 0 && value.get<int64_t>() < kMaxVocabulary;
}

// One tokenizer.json on its way to TokenizerParts.
class TokenizerReader {
 public:
  TokenizerReader(const json& file, const std::string& path) : file_(file), path_(path) {}

  absl::StatusOr<TokenizerParts> Read() {
    RUNG_RETURN_IF_ERROR(ReadAddedTokens());
    const json model = file_.value("model", json::object());
    model_type_ = ModelType(model);
    const bool known = model_type_ == "WordPiece" || model_type_ == "BPE" || model_type_ == "Unigram";
    if (!known) return Unsupported("model.type", model_type_, "WordPiece, BPE and Unigram");
    const json normalizer = file_.value("normalizer", json());
    if (!normalizer.is_null()) RUNG_RETURN_IF_ERROR(ReadNormalizer(normalizer));
    const json splitter = file_.value("pre_tokenizer", json());
    if (!splitter.is_null()) RUNG_RETURN_IF_ERROR(ReadPreTokenizer(splitter));
    RUNG_RETURN_IF_ERROR(ReadModel(model));
    RUNG_RETURN_IF_ERROR(ReadPostProcessor());
    parts_.vocabulary_size = last_id_ + 1;
    return std::move(parts_);
  }

 private:
  absl::Status Malformed(const std::string& message, const std::string& value = "") const {
    return MalformedTokenizer(path_, message, value);
  }

  absl::Status Unsupported(const char* key, const std::string& type, const char* supported) const {
    return MalformedTokenizer(path_, absl::StrFormat("%s \"%s\" is not supported", key, type), type,
                              absl::StrFormat("Use a model with one of %s", supported));
  }

  // Files written before `tokenizers` 0.10 have no model.type.
  static std::string ModelType(const json& model) {
    if (!model.is_object()) return "";
    const bool scored = model.contains("vocab") && model["vocab"].is_array();
    return TextOf(model, "type", model.contains("merges") ? "BPE" : scored ? "Unigram" : "WordPiece");
  }

  std::optional<int32_t> IdOf(const std::string& token) const {
    for (const AddedToken& added : parts_.added) {
      if (added.content == token) return added.id;
    }
    const auto found = vocabulary_.find(token);
    if (found == vocabulary_.end()) return std::nullopt;
    return found->second;
  }

  absl::Status ReadAddedTokens() {
    for (const json& token : file_.value("added_tokens", json::array())) {
      if (!token.is_object() || !token.contains("id") || !IsId(token["id"]) ||
          TextOf(token, "content", "").empty()) {
        return Malformed("an entry of added_tokens has no id or no content", token.dump());
      }
      AddedToken added{token["content"].get<std::string>(), token["id"].get<int32_t>()};
      added.normalized = FlagOf(token, "normalized", false);
      added.single_word = FlagOf(token, "single_word", false);
      added.left_strip = FlagOf(token, "lstrip", false);
      added.right_strip = FlagOf(token, "rstrip", false);
      last_id_ = std::max(last_id_, added.id);
      parts_.added.push_back(std::move(added));
    }
    return absl::OkStatus();
  }

  absl::Status ReadNormalizer(const json& step);
  absl::Status ReadReplace(const json& step);
  absl::Status ReadCharsmap(const json& step);
  absl::Status ReadPreTokenizer(const json& step);
  absl::Status ReadMetaspace(const json& step);
  absl::Status ReadModel(const json& model);
  absl::Status ReadVocabulary(const json& model);
  absl::Status ReadWordPiece(const json& model);
  absl::Status ReadBpe(const json& model);
  absl::Status ReadMerges(const json& model, BpeParts* bpe) const;
  absl::Status ReadUnigram(const json& model);
  absl::Status ReadPostProcessor();
  absl::Status ReadTemplates(const json& processor);
  absl::StatusOr<std::vector<TemplatePiece>> ReadTemplate(const json& processor, const char* key,
                                                          bool pair) const;
  absl::Status SetBertTemplate(const std::string& cls, const std::string& sep);
  absl::Status SetRobertaTemplate(const json& processor);

  const json& file_;
  const std::string& path_;
  std::string model_type_;
  Vocabulary vocabulary_;
  int32_t last_id_ = -1;
  TokenizerParts parts_;
};

absl::Status TokenizerReader::ReadNormalizer(const json& step) {
  const std::string type = step.is_object() ? TextOf(step, "type", "") : "";
  std::vector<NormalizerStep>& steps = parts_.normalizer;
  if (type == "Sequence") {
    for (const json& inner : step.value("normalizers", json::array()))
      RUNG_RETURN_IF_ERROR(ReadNormalizer(inner));
  } else if (type == "BertNormalizer") {
    BertNormalizer bert;
    bert.clean_text = FlagOf(step, "clean_text", true);
    bert.handle_chinese_chars = FlagOf(step, "handle_chinese_chars", true);
    bert.lowercase = FlagOf(step, "lowercase", true);
    bert.strip_accents = FlagOf(step, "strip_accents", bert.lowercase);
    steps.emplace_back(bert);
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    steps.emplace_back(type == "NFC"    ? UnicodeForm::kNfc
                       : type == "NFD"  ? UnicodeForm::kNfd
                       : type == "NFKC" ? UnicodeForm::kNfkc
                                        : UnicodeForm::kNfkd);
  } else if (type == "Lowercase") {
    steps.emplace_back(Lowercase{});
  } else if (type == "StripAccents") {
    steps.emplace_back(StripAccents{});
  } else if (type == "Strip") {
    steps.emplace_back(StripBlanks{FlagOf(step, "strip_left", true), FlagOf(step, "strip_right", true)});
  } else if (type == "Prepend") {
    steps.emplace_back(Prepend{TextOf(step, "prepend", "")});
  } else if (type == "Replace") {
    return ReadReplace(step);
  } else if (type == "Precompiled") {
    return ReadCharsmap(step);
  } else {
    return Unsupported(
        "normalizer.type", type,
        "BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, "
        "Precompiled and Sequence");
  }
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadReplace(const json& step) {
  const json pattern = step.value("pattern", json());
  const std::string to = TextOf(step, "content", "");
  if (pattern.is_object() && pattern.contains("String") && !TextOf(pattern, "String", "").empty()) {
    parts_.normalizer.emplace_back(ReplaceText{TextOf(pattern, "String", ""), to});
    return absl::OkStatus();
  }
  const std::string expression = pattern.is_object() ? TextOf(pattern, "Regex", "") : "";
  const std::pair<const char*, BlankPattern> known[] = {
      {" {2,}", BlankPattern::kSpaces},
      {"\\s+", BlankPattern::kBlanks},
      {"\\s{2,}|[\\n\\r\\t]", BlankPattern::kBlanksOrLines}};
  for (const auto& [text, meaning] : known) {
    if (expression != text) continue;
    parts_.normalizer.emplace_back(ReplaceBlanks{meaning, to});
    return absl::OkStatus();
  }
  return Unsupported("normalizer.pattern", pattern.dump(), "\" {2,}\", \"\\s+\" and \"\\s{2,}|[\\n\\r\\t]\"");
}

absl::Status TokenizerReader::ReadCharsmap(const json& step) {
  const std::string text = TextOf(step, "precompiled_charsmap", "");
  if (text.empty()) return absl::OkStatus();  // sentencepiece's "identity"
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) return Malformed("normalizer.precompiled_charsmap is not base64");
  absl::StatusOr<Charsmap> map = Charsmap::Parse(bytes);
  if (!map.ok()) {
    return Malformed(
        absl::StrFormat("normalizer.precompiled_charsmap is malformed: %s", map.status().message()));
  }
  parts_.normalizer.emplace_back(*std::move(map));
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadPreTokenizer(const json& step) {
  const std::string type = step.is_object() ? TextOf(step, "type", "") : "";
  std::vector<PreTokenizerStep>& steps = parts_.pre_tokenizer;
  if (!steps.empty() && std::holds_alternative<ByteLevel>(steps.back())) {
    return Malformed(absl::StrFormat("pre_tokenizer \"%s\" stands behind ByteLevel", type), type);
  }
  if (type == "Sequence") {
    for (const json& inner : step.value("pretokenizers", json::array()))
      RUNG_RETURN_IF_ERROR(ReadPreTokenizer(inner));
  } else if (type == "BertPreTokenizer") {
    steps.emplace_back(BertWords{});
  } else if (type == "WhitespaceSplit") {
    steps.emplace_back(BlankWords{});
  } else if (type == "Punctuation" && TextOf(step, "behavior", "Isolated") == "Isolated") {
    steps.emplace_back(Punctuation{});
  } else if (type == "Metaspace") {
    return ReadMetaspace(step);
  } else if (type == "ByteLevel" && model_type_ == "BPE") {
    steps.emplace_back(ByteLevel{FlagOf(step, "add_prefix_space", true), FlagOf(step, "use_regex", true)});
  } else {
    return Unsupported(
        "pre_tokenizer.type", type,
        "BertPreTokenizer, WhitespaceSplit, Punctuation (Isolated), Metaspace, ByteLevel (with BPE) "
        "and Sequence");
  }
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadMetaspace(const json& step) {
  Metaspace metaspace;
  metaspace.replacement = TextOf(step, "replacement", metaspace.replacement);
  if (FromUtf8(metaspace.replacement).size() != 1) {
    return Malformed("pre_tokenizer.replacement is not one character", metaspace.replacement);
  }
  // Before `tokenizers` 0.15 add_prefix_space said what prepend_scheme says now.
  const std::string scheme =
      TextOf(step, "prepend_scheme", FlagOf(step, "add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return Unsupported("pre_tokenizer.prepend_scheme", scheme, "always, first and never");
  }
  metaspace.prefix = scheme == "always"  ? Metaspace::Prefix::kAlways
                     : scheme == "first" ? Metaspace::Prefix::kFirst
                                         : Metaspace::Prefix::kNever;
  metaspace.split = FlagOf(step, "split", true);
  parts_.pre_tokenizer.emplace_back(std::move(metaspace));
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadVocabulary(const json& model) {
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object() || vocabulary->empty()) {
    return Malformed("model.vocab is missing or empty");
  }
  vocabulary_.reserve(vocabulary->size());
  for (const auto& [token, id] : vocabulary->items()) {
    if (!IsId(id)) return Malformed(absl::StrFormat("model.vocab[\"%s\"] is not an id", token), id.dump());
    last_id_ = std::max(last_id_, id.get<int32_t>());
    vocabulary_.emplace(token, id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadModel(const json& model) {
  if (model_type_ == "Unigram") return ReadUnigram(model);
  RUNG_RETURN_IF_ERROR(ReadVocabulary(model));
  return model_type_ == "BPE" ? ReadBpe(model) : ReadWordPiece(model);
}

absl::Status TokenizerReader::ReadWordPiece(const json& model) {
  WordPieceParts parts;
  parts.continuing_prefix = TextOf(model, "continuing_subword_prefix", "##");
  const auto longest = model.find("max_input_chars_per_word");
  if (longest != model.end()) {
    if (!IsId(*longest)) return Malformed("model.max_input_chars_per_word is not a count", longest->dump());
    parts.max_characters_per_word = longest->get<int>();
  }
  const std::string unknown = TextOf(model, "unk_token", "[UNK]");
  const auto found = vocabulary_.find(unknown);
  if (found == vocabulary_.end()) {
    return Malformed(absl::StrFormat("model.unk_token %s is not in the vocabulary", unknown), unknown);
  }
  parts.unknown_id = found->second;
  parts.vocabulary = vocabulary_;
  parts_.model = std::make_unique<WordPieceModel>(parts);
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadMerges(const json& model, BpeParts* bpe) const {
  const json merges = model.value("merges", json());
  if (!merges.is_array()) return Malformed("model.merges is missing");
  bpe->merges.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      bpe->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t blank = text.find(' ');
    if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
      return Malformed("an entry of model.merges is no pair", merge.dump());
    }
    bpe->merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
  }
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadBpe(const json& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (TextOf(model, key, "").empty()) continue;
    return Malformed(absl::StrFormat("model.%s is not supported", key), TextOf(model, key, ""));
  }
  if (model.contains("dropout") && model["dropout"].is_number() && model["dropout"].get<double>() > 0) {
    return Malformed("model.dropout would make ids random", model["dropout"].dump());
  }
  BpeParts bpe;
  RUNG_RETURN_IF_ERROR(ReadMerges(model, &bpe));
  bpe.byte_level =
      !parts_.pre_tokenizer.empty() && std::holds_alternative<ByteLevel>(parts_.pre_tokenizer.back());
  bpe.ignore_merges = FlagOf(model, "ignore_merges", false);
  bpe.byte_fallback = FlagOf(model, "byte_fallback", false);
  bpe.fuse_unknown = FlagOf(model, "fuse_unk", false);
  if (const std::string unknown = TextOf(model, "unk_token", ""); !unknown.empty()) {
    const auto found = vocabulary_.find(unknown);
    if (found == vocabulary_.end())
      return Malformed(absl::StrFormat("model.unk_token %s is not in the vocabulary", unknown), unknown);
    bpe.unknown_id = found->second;
  }
  bpe.vocabulary = vocabulary_;
  std::string fault;
  parts_.model = BpeModel::Make(bpe, &fault);
  if (parts_.model != nullptr) return absl::OkStatus();
  return Malformed(absl::StrFormat("the merge \"%s\" is not in the vocabulary", fault), fault);
}

absl::Status TokenizerReader::ReadUnigram(const json& model) {
  const json pieces = model.value("vocab", json());
  if (!pieces.is_array() || pieces.empty() || pieces.size() > static_cast<size_t>(kMaxVocabulary)) {
    return Malformed("model.vocab is missing or empty");
  }
  UnigramParts unigram;
  unigram.pieces.reserve(pieces.size());
  for (const json& piece : pieces) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number()) {
      return Malformed("an entry of model.vocab is no piece with its score", piece.dump());
    }
    vocabulary_[piece[0].get_ref<const std::string&>()] = static_cast<int32_t>(unigram.pieces.size());
    unigram.pieces.emplace_back(piece[0].get<std::string>(), piece[1].get<double>());
  }
  const json unknown = model.value("unk_id", json());
  if (!IsId(unknown) || unknown.get<size_t>() >= pieces.size()) {
    return Malformed("model.unk_id is not an id of the vocabulary", unknown.dump());
  }
  last_id_ = std::max(last_id_, static_cast<int32_t>(pieces.size()) - 1);
  unigram.unknown_id = unknown.get<int32_t>();
  unigram.byte_fallback = FlagOf(model, "byte_fallback", false);
  parts_.model = std::make_unique<UnigramModel>(unigram);
  return absl::OkStatus();
}

absl::Status TokenizerReader::SetBertTemplate(const std::string& cls, const std::string& sep) {
  const std::optional<int32_t> cls_id = IdOf(cls), sep_id = IdOf(sep);
  if (!cls_id || !sep_id) {
    const std::string& missing = cls_id ? sep : cls;
    return Malformed(absl::StrFormat("the vocabulary has no %s", missing), missing);
  }
  SetSpecialTokens(&parts_, *cls_id, *sep_id, SpecialTokenStyle::kBert);
  return absl::OkStatus();
}

std::string FirstText(const json& processor, const char* key) {
  const json value = processor.value(key, json());
  return value.is_array() && !value.empty() && value[0].is_string() ? value[0].get<std::string>() : "";
}

absl::Status TokenizerReader::SetRobertaTemplate(const json& processor) {
  RUNG_RETURN_IF_ERROR(SetBertTemplate(FirstText(processor, "cls"), FirstText(processor, "sep")));
  SetSpecialTokens(&parts_, parts_.single.front().ids[0], parts_.single.back().ids[0],
                   SpecialTokenStyle::kRoberta);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TemplatePiece>> TokenizerReader::ReadTemplate(const json& processor,
                                                                         const char* key, bool pair) const {
  const json pieces = processor.value(key, json::array()), tokens = processor.value("special_tokens", json());
  std::vector<TemplatePiece> out;
  int firsts = 0, seconds = 0;
  const auto fault = [&] {
    return Malformed(absl::StrFormat("post_processor.%s is not a template of A%s and special tokens", key,
                                     pair ? ", B" : ""),
                     pieces.dump());
  };
  for (const json& piece : pieces) {
    const bool shaped = piece.is_object() && piece.size() == 1 && piece.begin()->is_object();
    const json value = shaped ? *piece.begin() : json::object();
    const json type = value.value("type_id", json(0));
    const std::string id = TextOf(value, "id", "");
    if (!shaped || !IsId(type)) return fault();
    TemplatePiece next;
    next.token_type = type.get<int32_t>();
    if (piece.contains("Sequence")) {
      next.kind = id == "A" ? TemplatePiece::Kind::kFirst : TemplatePiece::Kind::kSecond;
      ++(id == "A" ? firsts : seconds);
    } else {
      next.kind = TemplatePiece::Kind::kSpecial;
      const json token = tokens.is_object() ? tokens.value(id, json()) : json();
      const json ids = token.is_object() ? token.value("ids", json()) : json();
      const bool known = ids.is_array() && !ids.empty() && std::all_of(ids.begin(), ids.end(), IsId);
      if (!known) return Malformed(absl::StrFormat("post_processor.special_tokens has no \"%s\"", id), id);
      next.ids = ids.get<std::vector<int32_t>>();
    }
    out.push_back(std::move(next));
  }
  if (firsts != 1 || seconds != (pair ? 1 : 0)) return fault();
  return out;
}

absl::Status TokenizerReader::ReadTemplates(const json& processor) {
  RUNG_ASSIGN_OR_RETURN(parts_.single, ReadTemplate(processor, "single", false));
  RUNG_ASSIGN_OR_RETURN(parts_.pair, ReadTemplate(processor, "pair", true));
  for (const std::vector<TemplatePiece>* pieces : {&parts_.single, &parts_.pair}) {
    for (const TemplatePiece& piece : *pieces) {
      for (const int32_t id : piece.ids) last_id_ = std::max(last_id_, id);
    }
  }
  return absl::OkStatus();
}

absl::Status TokenizerReader::ReadPostProcessor() {
  json processor = file_.value("post_processor", json());
  if (processor.is_object() && TextOf(processor, "type", "") == "Sequence") {
    // Of several, ByteLevel is about offsets alone.
    json rest = json::array();
    for (const json& inner : processor.value("processors", json::array())) {
      if (!inner.is_object() || TextOf(inner, "type", "") != "ByteLevel") rest.push_back(inner);
    }
    if (rest.size() > 1) return Malformed("post_processor is a sequence of several", rest.dump());
    processor = rest.empty() ? json() : rest[0];
  }
  if (processor.is_null()) {
    if (model_type_ == "WordPiece") return SetBertTemplate("[CLS]", "[SEP]");
    parts_.single = {TemplatePiece{}};
    parts_.pair = {TemplatePiece{}, TemplatePiece{TemplatePiece::Kind::kSecond, 1, {}}};
    return absl::OkStatus();
  }
  const std::string type = processor.is_object() ? TextOf(processor, "type", "") : "";
  if (type == "BertProcessing")
    return SetBertTemplate(FirstText(processor, "cls"), FirstText(processor, "sep"));
  if (type == "RobertaProcessing") return SetRobertaTemplate(processor);
  if (type == "TemplateProcessing") return ReadTemplates(processor);
  return Unsupported("post_processor.type", type, "BertProcessing, RobertaProcessing and TemplateProcessing");
}

}  // namespace

absl::Status MalformedTokenizer(const std::string& path, const std::string& message, const std::string& value,
                                const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0421", message, path, value, mend});
}

std::string TextOf(const json& object, const char* key, const std::string& fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : fallback;
}

bool FlagOf(const json& object, const char* key, bool fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

namespace {

absl::StatusOr<json> ParseObject(const std::string& text, const std::string& path) {
  json parsed = ParseJson(text);
  if (parsed.is_discarded() || !parsed.is_object()) {
    return MalformedTokenizer(path, "the file is not a JSON object");
  }
  return parsed;
}

}  // namespace

absl::StatusOr<json> ReadTokenizerObject(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  return ParseObject(text, path);
}

absl::StatusOr<TokenizerParts> ParseTokenizerJson(const std::string& text, const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const json file, ParseObject(text, path));
  return TokenizerReader(file, path).Read();
}

absl::StatusOr<TokenizerParts> PartsFromTokenizerJson(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  return ParseTokenizerJson(text, path);
}

}  // namespace rung
