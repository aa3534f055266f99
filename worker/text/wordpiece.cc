#include "worker/text/wordpiece.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

bool WordCharacterBefore(std::string_view text, size_t position) {
  if (position == 0) return false;
  do {
    --position;
  } while (position > 0 && ContinuesCharacter(text[position]));
  return IsWordCharacter(NextCharacter(text, &position).value_or(U' '));
}

bool WordCharacterAt(std::string_view text, size_t position) {
  return position < text.size() && IsWordCharacter(NextCharacter(text, &position).value_or(U' '));
}

const AddedToken* LongestAt(std::string_view text, size_t position, const std::vector<AddedToken>& tokens) {
  const AddedToken* best = nullptr;
  for (const AddedToken& token : tokens) {
    if (text.compare(position, token.content.size(), token.content) == 0 &&
        (best == nullptr || token.content.size() > best->content.size())) {
      best = &token;
    }
  }
  return best;
}

// Calls gap(text between) and found(id) in text order; matches are leftmost, the longest first, and do not
// overlap.
template <typename Gap, typename Found>
void SplitAtTokens(std::string_view text, const std::vector<AddedToken>& tokens, const Gap& gap,
                   const Found& found) {
  size_t start = 0;
  for (size_t i = 0; i < text.size() && !tokens.empty();) {
    const AddedToken* token = LongestAt(text, i, tokens);
    if (token == nullptr) {
      ++i;
      continue;
    }
    const size_t end = i + token->content.size();
    if (!token->single_word || (!WordCharacterBefore(text, i) && !WordCharacterAt(text, end))) {
      if (i > start) gap(text.substr(start, i - start));
      found(token->id);
      start = end;
    }
    i = end;
  }
  if (start < text.size()) gap(text.substr(start));
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(WordPieceParts parts) : parts_(std::move(parts)) {
  int32_t last = -1;
  for (const auto& [token, id] : parts_.vocabulary) last = std::max(last, id);
  for (const AddedToken& token : parts_.added) {
    last = std::max(last, token.id);
    if (token.content.empty()) continue;
    if (token.normalized && parts_.normalize) {
      AddedToken copy = token;
      copy.content = ToUtf8(Normalize(parts_.normalizer, token.content));
      if (!copy.content.empty()) normalized_.push_back(std::move(copy));
    } else {
      raw_.push_back(token);
    }
  }
  size_ = last + 1;
}

void WordPieceTokenizer::EncodeWord(const std::string& word, std::vector<int32_t>* ids) const {
  const auto characters =
      std::count_if(word.begin(), word.end(), [](char byte) { return !ContinuesCharacter(byte); });
  if (characters > parts_.max_characters_per_word) {
    ids->push_back(parts_.unknown_id);
    return;
  }
  const size_t before = ids->size();
  std::string piece;
  for (size_t start = 0; start < word.size();) {
    piece = start > 0 ? parts_.continuing_prefix : "";
    const size_t prefix = piece.size();
    piece.append(word, start);
    auto found = parts_.vocabulary.find(piece);
    while (found == parts_.vocabulary.end() && piece.size() > prefix) {
      while (piece.size() > prefix && ContinuesCharacter(piece.back())) piece.pop_back();
      piece.pop_back();
      if (piece.size() > prefix) found = parts_.vocabulary.find(piece);
    }
    if (found == parts_.vocabulary.end()) {  // one part unknown: the whole word is
      ids->resize(before);
      ids->push_back(parts_.unknown_id);
      return;
    }
    ids->push_back(found->second);
    start += piece.size() - prefix;
  }
}

void WordPieceTokenizer::EncodeWords(const std::u32string& normalized, std::vector<int32_t>* ids) const {
  for (const std::string& word : SplitWords(normalized)) EncodeWord(word, ids);
}

void WordPieceTokenizer::EncodeSegment(std::string_view text, std::vector<int32_t>* ids) const {
  // Without a normaliser the identity is used: only decoding.
  constexpr BertNormalizer kNothing{false, false, false, false};
  const std::u32string normalized = Normalize(parts_.normalize ? parts_.normalizer : kNothing, text);
  if (normalized_.empty()) {
    EncodeWords(normalized, ids);
    return;
  }
  SplitAtTokens(
      ToUtf8(normalized), normalized_,
      [&](std::string_view gap) { EncodeWords(Normalize(kNothing, gap), ids); },
      [&](int32_t id) { ids->push_back(id); });
}

std::vector<int32_t> WordPieceTokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  SplitAtTokens(
      text, raw_, [&](std::string_view gap) { EncodeSegment(gap, &ids); },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

// Longest-first as in `tokenizers`: the shorter text stays whole as long as it fits; if both are too long
// they share, and of an odd number the longer one (of equals the second) gets one more.
std::vector<int32_t> WordPieceTokenizer::EncodeForModel(std::string_view text, std::string_view pair,
                                                        int max_tokens,
                                                        std::vector<int32_t>* token_types) const {
  std::vector<int32_t> first = Encode(text);
  std::vector<int32_t> second;
  const bool is_pair = !pair.empty();
  if (is_pair) second = Encode(pair);
  const int special = is_pair ? 3 : 2;
  RUNG_CHECK(max_tokens >= special, "the option table keeps max_seq_length above the special tokens");
  const size_t room = static_cast<size_t>(max_tokens - special);
  if (first.size() + second.size() > room) {
    std::vector<int32_t>* shorter = &first;
    std::vector<int32_t>* longer = &second;
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
  std::vector<int32_t> ids;
  ids.reserve(first.size() + second.size() + static_cast<size_t>(special));
  ids.push_back(parts_.cls_id);
  ids.insert(ids.end(), first.begin(), first.end());
  ids.push_back(parts_.sep_id);
  token_types->assign(ids.size(), 0);
  if (is_pair) {
    ids.insert(ids.end(), second.begin(), second.end());
    ids.push_back(parts_.sep_id);
    token_types->resize(ids.size(), 1);
  }
  return ids;
}

}  // namespace rung
