// Tokenizers from their vocabulary files, as `transformers` builds them where tokenizer.json is missing.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/bpe.h"
#include "worker/text/tokenizer_json.h"
#include "worker/text/wordpiece.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxVocabularyBytes = int64_t{64} << 20;

// The lines of a file without their ends.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxVocabularyBytes));
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    size_t last = end;
    if (last > start && text[last - 1] == '\r') --last;
    lines.push_back(text.substr(start, last - start));
    start = end + 1;
  }
  return lines;
}

// A special token's name: a string, or an object with "content" (older files).
std::string SpecialToken(const json& config, const char* key, const std::string& fallback) {
  const auto found = config.find(key);
  if (found == config.end()) return fallback;
  return found->is_object() ? TextOf(*found, "content", fallback) : TextOf(config, key, fallback);
}

absl::StatusOr<int32_t> IdOf(const Vocabulary& vocabulary, const std::string& token,
                             const std::string& path) {
  const auto found = vocabulary.find(token);
  if (found != vocabulary.end()) return found->second;
  return MalformedTokenizer(path, absl::StrFormat("the vocabulary has no %s", token), token);
}

int Size(const Vocabulary& vocabulary) {
  int32_t last = -1;
  for (const auto& [token, id] : vocabulary) last = std::max(last, id);
  return last + 1;
}

}  // namespace

absl::StatusOr<TokenizerParts> PartsFromWordList(const std::string& path, const json& config) {
  WordPieceParts words;
  RUNG_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(path));
  int32_t next = 0;
  // A token that stands twice has its last id, as in `transformers`.
  for (const std::string& token : lines) words.vocabulary[token] = next++;
  if (words.vocabulary.empty()) return MalformedTokenizer(path, "the vocabulary is empty");
  BertNormalizer normalizer;
  normalizer.lowercase = FlagOf(config, "do_lower_case", true);
  normalizer.handle_chinese_chars = FlagOf(config, "tokenize_chinese_chars", true);
  normalizer.strip_accents = FlagOf(config, "strip_accents", normalizer.lowercase);
  const std::string unknown = SpecialToken(config, "unk_token", "[UNK]");
  const std::string cls = SpecialToken(config, "cls_token", "[CLS]");
  const std::string sep = SpecialToken(config, "sep_token", "[SEP]");
  RUNG_ASSIGN_OR_RETURN(words.unknown_id, IdOf(words.vocabulary, unknown, path));
  RUNG_ASSIGN_OR_RETURN(const int32_t cls_id, IdOf(words.vocabulary, cls, path));
  RUNG_ASSIGN_OR_RETURN(const int32_t sep_id, IdOf(words.vocabulary, sep, path));
  TokenizerParts parts;
  for (const std::string& token : {unknown, cls, sep, SpecialToken(config, "pad_token", "[PAD]"),
                                   SpecialToken(config, "mask_token", "[MASK]")}) {
    const auto found = words.vocabulary.find(token);
    if (found != words.vocabulary.end()) parts.added.push_back({token, found->second});
  }
  parts.normalizer = {normalizer};
  parts.pre_tokenizer = {BertWords{}};
  parts.model = std::make_unique<WordPieceModel>(words);
  parts.vocabulary_size = Size(words.vocabulary);
  SetSpecialTokens(&parts, cls_id, sep_id, SpecialTokenStyle::kBert);
  return parts;
}

absl::StatusOr<TokenizerParts> PartsFromMerges(const std::string& vocabulary_path,
                                               const std::string& merges_path, const json& config) {
  BpeParts bpe;
  bpe.byte_level = true;
  RUNG_ASSIGN_OR_RETURN(const json vocabulary, ReadTokenizerObject(vocabulary_path));
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX / 2) {
      return MalformedTokenizer(vocabulary_path, absl::StrFormat("\"%s\" has no id", token), id.dump());
    }
    bpe.vocabulary.emplace(token, id.get<int32_t>());
  }
  RUNG_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(merges_path));
  for (const std::string& line : lines) {
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    const size_t blank = line.find(' ');
    if (blank == std::string::npos) return MalformedTokenizer(merges_path, "a line is no pair", line);
    bpe.merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  TokenizerParts parts;
  const auto special = [&](const char* key, const char* fallback) -> absl::StatusOr<int32_t> {
    const std::string token = SpecialToken(config, key, fallback);
    RUNG_ASSIGN_OR_RETURN(const int32_t id, IdOf(bpe.vocabulary, token, vocabulary_path));
    AddedToken added{token, id};
    added.left_strip = std::string(key) == "mask_token";  // <mask> stands for a word with its blank
    parts.added.push_back(std::move(added));
    return id;
  };
  RUNG_ASSIGN_OR_RETURN(const int32_t cls_id, special("cls_token", "<s>"));
  RUNG_ASSIGN_OR_RETURN(const int32_t sep_id, special("sep_token", "</s>"));
  for (const auto& [key, token] : {std::pair{"pad_token", "<pad>"}, std::pair{"unk_token", "<unk>"},
                                   std::pair{"mask_token", "<mask>"}}) {
    RUNG_RETURN_IF_ERROR(special(key, token).status());
  }
  parts.pre_tokenizer = {ByteLevel{FlagOf(config, "add_prefix_space", false), true}};
  std::string fault;
  parts.model = BpeModel::Make(bpe, &fault);
  if (parts.model == nullptr) {
    return MalformedTokenizer(merges_path,
                              absl::StrFormat("the merge \"%s\" is not in the vocabulary", fault), fault);
  }
  parts.vocabulary_size = Size(bpe.vocabulary);
  SetSpecialTokens(&parts, cls_id, sep_id, SpecialTokenStyle::kRoberta);
  return parts;
}

}  // namespace rung
