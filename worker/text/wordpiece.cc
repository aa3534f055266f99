#include "worker/text/wordpiece.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

PieceTrie PiecesWith(const Vocabulary& vocabulary, const std::string& prefix) {
  std::vector<std::pair<std::string_view, int32_t>> pieces;
  for (const auto& [token, id] : vocabulary) {
    if (absl::StartsWith(token, prefix))
      pieces.emplace_back(std::string_view(token).substr(prefix.size()), id);
  }
  return PieceTrie(std::move(pieces));
}

}  // namespace

WordPieceModel::WordPieceModel(const WordPieceParts& parts)
    : beginnings_(PiecesWith(parts.vocabulary, "")),
      continuations_(PiecesWith(parts.vocabulary, parts.continuing_prefix)),
      max_characters_(static_cast<size_t>(parts.max_characters_per_word)),
      unknown_id_(parts.unknown_id) {}

void WordPieceModel::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (word.size() > max_characters_) {
    const auto characters =
        std::count_if(word.begin(), word.end(), [](char byte) { return !ContinuesCharacter(byte); });
    if (static_cast<size_t>(characters) > max_characters_) {
      ids->push_back(unknown_id_);
      return;
    }
  }
  const size_t before = ids->size();
  const PieceTrie* trie = &beginnings_;
  while (!word.empty()) {
    const PieceTrie::Match match = trie->Longest(word);
    if (match.length == 0) {  // one part unknown: the whole word is
      ids->resize(before);
      ids->push_back(unknown_id_);
      return;
    }
    ids->push_back(match.id);
    word.remove_prefix(match.length);
    trie = &continuations_;
  }
}

}  // namespace rung
