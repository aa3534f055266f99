#include "worker/text/unigram.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

constexpr double kUnknownPenalty = 10;  // sentencepiece, unigram_model.cc
constexpr size_t kShort = 128;          // bytes of a piece that needs no allocation

PieceTrie TrieOf(const UnigramParts& parts) {
  std::vector<std::pair<std::string_view, int32_t>> pieces;
  pieces.reserve(parts.pieces.size());
  for (const auto& [piece, score] : parts.pieces)
    pieces.emplace_back(piece, static_cast<int32_t>(pieces.size()));
  return PieceTrie(std::move(pieces));
}

size_t CharacterBytes(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && ContinuesCharacter(text[end])) ++end;
  return end - at;
}

// The best segmentation of the bytes before a position.
struct Best {
  double score = 0;
  size_t from = 0;
  int32_t id = -1;  // of the last piece; -1: not reached
};

}  // namespace

UnigramModel::UnigramModel(const UnigramParts& parts) : trie_(TrieOf(parts)), unknown_id_(parts.unknown_id) {
  double lowest = parts.pieces.empty() ? 0 : parts.pieces.front().second;
  scores_.reserve(parts.pieces.size());
  for (const auto& [piece, score] : parts.pieces) {
    scores_.push_back(score);
    lowest = std::min(lowest, score);
  }
  unknown_score_ = lowest - kUnknownPenalty;
  if (!parts.byte_fallback) return;
  Vocabulary ids;
  for (size_t i = 0; i < parts.pieces.size(); ++i) ids[parts.pieces[i].first] = static_cast<int32_t>(i);
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(absl::StrFormat("<0x%02X>", byte));
    byte_ids_.push_back(found == ids.end() ? -1 : found->second);
  }
}

void UnigramModel::AppendUnknown(std::string_view text, std::vector<int32_t>* ids) const {
  const auto known = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)] >= 0; };
  if (byte_ids_.empty() || !std::all_of(text.begin(), text.end(), known)) {
    ids->push_back(unknown_id_);
    return;
  }
  for (const char byte : text) ids->push_back(byte_ids_[static_cast<unsigned char>(byte)]);
}

void UnigramModel::Encode(std::string_view piece, std::vector<int32_t>* ids) const {
  Best small[kShort + 1];
  std::vector<Best> large;
  if (piece.size() > kShort) large.resize(piece.size() + 1);
  Best* const best = piece.size() > kShort ? large.data() : small;
  for (size_t at = 0; at < piece.size();) {
    const double score = best[at].score;
    const size_t character = CharacterBytes(piece, at);
    bool single = false;
    const auto offer = [&](size_t length, int32_t id, double candidate) {
      Best& target = best[at + length];
      if (target.id < 0 || candidate > target.score) target = {candidate, at, id};
    };
    trie_.ForEachPrefix(piece.substr(at), [&](size_t length, int32_t id) {
      offer(length, id, scores_[static_cast<size_t>(id)] + score);
      single = single || length == character;
    });
    if (!single) offer(character, unknown_id_, unknown_score_ + score);
    at += character;
  }
  // From the end to the start; the stretch [begin, end) holds what is turned round at last.
  const size_t before = ids->size();
  std::vector<int32_t> bytes;
  for (size_t end = piece.size(); end > 0;) {
    size_t from = best[end].from;
    if (best[end].id != unknown_id_) {
      ids->push_back(best[end].id);
    } else {
      while (from > 0 && best[from].id == unknown_id_) from = best[from].from;
      bytes.clear();
      AppendUnknown(piece.substr(from, end - from), &bytes);
      ids->insert(ids->end(), bytes.rbegin(), bytes.rend());
    }
    end = from;
  }
  std::reverse(ids->begin() + static_cast<std::ptrdiff_t>(before), ids->end());
}

}  // namespace rung
