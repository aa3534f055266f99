#include "worker/text/tokenizer_pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace rung {
namespace {

AddedTokens RawTokens(const TokenizerParts& parts) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : parts.added) {
    if (!token.normalized || parts.normalizer.empty()) tokens.push_back(token);
  }
  return AddedTokens(std::move(tokens));
}

AddedTokens NormalizedTokens(const TokenizerParts& parts) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : parts.added) {
    if (!token.normalized || parts.normalizer.empty()) continue;
    token.content = Normalize(parts.normalizer, token.content);
    tokens.push_back(std::move(token));
  }
  return AddedTokens(std::move(tokens));
}

size_t SpecialTokens(const std::vector<TemplatePiece>& pieces) {
  size_t count = 0;
  for (const TemplatePiece& piece : pieces) count += piece.ids.size();
  return count;
}

// Longest-first as in `tokenizers`: the shorter text stays whole as long as it fits; if both are too long
// they share, and of an odd number the longer one (of equals the second) gets one more.
void TruncateLongestFirst(size_t room, std::vector<int32_t>* first, std::vector<int32_t>* second) {
  if (first->size() + second->size() <= room) return;
  std::vector<int32_t>* shorter = first;
  std::vector<int32_t>* longer = second;
  if (shorter->size() > longer->size()) std::swap(shorter, longer);
  size_t keep_shorter = shorter->size();
  size_t keep_longer = std::max(keep_shorter, room - std::min(room, keep_shorter));
  if (keep_shorter + keep_longer > room) {
    keep_shorter = room / 2;
    keep_longer = keep_shorter + room % 2;
  }
  shorter->resize(keep_shorter);
  longer->resize(keep_longer);
}

}  // namespace

void SetSpecialTokens(TokenizerParts* parts, int32_t cls, int32_t sep, SpecialTokenStyle style) {
  using Kind = TemplatePiece::Kind;
  const bool roberta = style == SpecialTokenStyle::kRoberta;
  const int32_t second = roberta ? 0 : 1;
  const std::vector<int32_t> middle = roberta ? std::vector{sep, sep} : std::vector{sep};
  parts->single = {{Kind::kSpecial, 0, {cls}}, {Kind::kFirst, 0, {}}, {Kind::kSpecial, 0, {sep}}};
  parts->pair = {{Kind::kSpecial, 0, {cls}},
                 {Kind::kFirst, 0, {}},
                 {Kind::kSpecial, 0, middle},
                 {Kind::kSecond, second, {}},
                 {Kind::kSpecial, second, {sep}}};
}

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)), raw_(RawTokens(parts_)), normalized_(NormalizedTokens(parts_)) {}

void PipelineTokenizer::EncodeSegment(std::string_view text, bool at_start, std::vector<int32_t>* ids) const {
  std::string normalized;
  if (!parts_.normalizer.empty()) {
    normalized = Normalize(parts_.normalizer, text);
    text = normalized;
  }
  normalized_.Split(
      text,
      [&](std::string_view gap, size_t where) {
        CutPieces(parts_.pre_tokenizer, gap, at_start && where == 0,
                  [&](std::string_view piece) { parts_.model->Encode(piece, ids); });
      },
      [&](int32_t id) { ids->push_back(id); });
}

std::vector<int32_t> PipelineTokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  raw_.Split(
      text, [&](std::string_view gap, size_t where) { EncodeSegment(gap, where == 0, &ids); },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

std::vector<int32_t> PipelineTokenizer::EncodeForModel(std::string_view text,
                                                       std::optional<std::string_view> pair, int max_tokens,
                                                       std::vector<int32_t>* token_types) const {
  std::vector<int32_t> first = Encode(text), second;
  if (pair) second = Encode(*pair);
  const std::vector<TemplatePiece>& pieces = pair ? parts_.pair : parts_.single;
  const size_t special = SpecialTokens(pieces), most = static_cast<size_t>(std::max(0, max_tokens));
  RUNG_CHECK(most >= special, "the option table keeps max_seq_length above the special tokens");
  TruncateLongestFirst(most - special, &first, &second);
  std::vector<int32_t> ids;
  ids.reserve(first.size() + second.size() + special);
  token_types->clear();
  for (const TemplatePiece& piece : pieces) {
    const std::vector<int32_t>& part = piece.kind == TemplatePiece::Kind::kFirst    ? first
                                       : piece.kind == TemplatePiece::Kind::kSecond ? second
                                                                                    : piece.ids;
    ids.insert(ids.end(), part.begin(), part.end());
    token_types->resize(ids.size(), piece.token_type);
  }
  return ids;
}

}  // namespace rung
