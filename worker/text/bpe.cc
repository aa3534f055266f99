#include "worker/text/bpe.h"

#include <algorithm>
#include <memory>
#include <queue>
#include <tuple>

#include "absl/strings/str_format.h"
#include "worker/text/byte_alphabet.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

constexpr size_t kFew = 48;  // symbols up to which looking at all pairs is faster than a queue
constexpr int32_t kNoRank = INT32_MAX;

std::vector<int32_t> ByteIds(const BpeParts& parts) {
  std::vector<int32_t> ids;
  if (!parts.byte_level && !parts.byte_fallback) return ids;
  for (int byte = 0; byte < 256; ++byte) {
    std::string token;
    if (parts.byte_level) {
      AppendUtf8(ByteCharacter(static_cast<unsigned char>(byte)), &token);
    } else {
      token = absl::StrFormat("<0x%02X>", byte);
    }
    const auto found = parts.vocabulary.find(token);
    ids.push_back(found == parts.vocabulary.end() ? -1 : found->second);
  }
  return ids;
}

}  // namespace

BpeModel::BpeModel(const BpeParts& parts)
    : byte_level_(parts.byte_level),
      ignore_merges_(parts.ignore_merges),
      fuse_unknown_(parts.fuse_unknown),
      unknown_id_(parts.unknown_id),
      byte_ids_(ByteIds(parts)) {
  vocabulary_.reserve(parts.vocabulary.size());
  for (const auto& [token, id] : parts.vocabulary) {
    if (!byte_level_) {
      vocabulary_.emplace(token, id);
    } else if (std::optional<std::string> bytes = BytesOf(token)) {
      vocabulary_.emplace(*std::move(bytes), id);
    }
  }
}

std::unique_ptr<BpeModel> BpeModel::Make(const BpeParts& parts, std::string* fault) {
  std::unique_ptr<BpeModel> model(new BpeModel(parts));
  if (!model->AddMerges(parts, fault)) return nullptr;
  model->FindWholes();
  return model;
}

bool BpeModel::AddMerges(const BpeParts& parts, std::string* fault) {
  joins_.reserve(parts.merges.size());
  int32_t rank = 0;
  for (const auto& [left, right] : parts.merges) {
    const auto left_id = parts.vocabulary.find(left), right_id = parts.vocabulary.find(right);
    const auto joined = parts.vocabulary.find(left + right);
    if (left_id == parts.vocabulary.end() || right_id == parts.vocabulary.end() ||
        joined == parts.vocabulary.end()) {
      *fault = left + " " + right;
      return false;
    }
    // A pair that stands twice has its last rank, as in `tokenizers`.
    joins_[{left_id->second, right_id->second}] = {rank++, joined->second};
  }
  return true;
}

void BpeModel::FindWholes() {
  std::vector<int32_t> ids;
  for (const auto& [text, id] : vocabulary_) {
    if (text.empty()) continue;
    ids.clear();
    if (!ignore_merges_) Encode(text, &ids);
    if (ignore_merges_ || (ids.size() == 1 && ids[0] == id)) wholes_.emplace(text, id);
  }
}

void BpeModel::Symbols(std::string_view piece, std::vector<int32_t>* symbols) const {
  bool after_unknown = false;
  for (size_t at = 0; at < piece.size();) {
    size_t end = at + 1;
    while (!byte_level_ && end < piece.size() && ContinuesCharacter(piece[end])) ++end;
    const std::string_view character = piece.substr(at, end - at);
    at = end;
    const auto byte_id = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    int32_t id = -1;
    if (byte_level_) {
      id = byte_id(character[0]);
    } else if (const auto found = vocabulary_.find(character); found != vocabulary_.end()) {
      id = found->second;
    } else if (!byte_ids_.empty() &&
               std::all_of(character.begin(), character.end(), [&](char b) { return byte_id(b) >= 0; })) {
      for (const char byte : character) symbols->push_back(byte_id(byte));
      after_unknown = false;
      continue;
    }
    const bool unknown = id < 0;
    if (unknown && unknown_id_ && !(fuse_unknown_ && after_unknown)) symbols->push_back(*unknown_id_);
    if (!unknown) symbols->push_back(id);
    after_unknown = unknown;
  }
}

// Repeatedly the pair of the lowest rank, the leftmost of equals: quadratic, but without a queue.
void BpeModel::JoinFew(std::vector<int32_t>* symbols) const {
  Join joins[kFew];  // joins[i] of symbols i and i + 1
  size_t count = symbols->size();
  int32_t* const ids = symbols->data();
  const auto look = [&](size_t i) {
    if (i + 1 >= count) return;
    const auto found = joins_.find(Pair{ids[i], ids[i + 1]});
    joins[i] = found == joins_.end() ? Join{kNoRank, 0} : found->second;
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  for (;;) {
    size_t best = 0;
    int32_t rank = kNoRank;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (joins[i].rank < rank) rank = joins[i].rank, best = i;
    }
    if (rank == kNoRank) break;
    ids[best] = joins[best].id;
    for (size_t i = best + 1; i + 1 < count; ++i) {
      ids[i] = ids[i + 1];
      joins[i] = joins[i + 1];
    }
    --count;
    look(best);
    if (best > 0) look(best - 1);
  }
  symbols->resize(count);
}

// The same with a linked list and a queue of pairs: n log n for a text without blanks.
void BpeModel::JoinMany(std::vector<int32_t>* symbols) const {
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none; id = -1: joined away
  };
  std::vector<Symbol> list;
  const auto count = static_cast<int32_t>(symbols->size());
  for (int32_t i = 0; i < count; ++i) {
    list.push_back({(*symbols)[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  using Entry = std::tuple<int32_t, int32_t, int32_t, int32_t>;  // rank, position, left id, right id
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  const auto at = [&](int32_t i) -> Symbol& { return list[static_cast<size_t>(i)]; };
  const auto offer = [&](int32_t i) {
    if (i < 0 || at(i).next < 0) return;
    const Pair pair{at(i).id, at(at(i).next).id};
    const auto found = joins_.find(pair);
    if (found != joins_.end()) queue.push({found->second.rank, i, pair.first, pair.second});
  };
  for (int32_t i = 0; i + 1 < count; ++i) offer(i);
  while (!queue.empty()) {
    const auto [rank, i, left, right] = queue.top();
    queue.pop();
    Symbol& symbol = at(i);
    if (symbol.id != left || symbol.next < 0 || at(symbol.next).id != right) continue;  // gone meanwhile
    Symbol& gone = at(symbol.next);
    symbol.id = joins_.find(Pair{left, right})->second.id;
    gone.id = -1;
    symbol.next = gone.next;
    if (gone.next >= 0) at(gone.next).previous = i;
    offer(i);
    offer(symbol.previous);
  }
  symbols->clear();
  for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = at(i).next) symbols->push_back(at(i).id);
}

void BpeModel::Encode(std::string_view piece, std::vector<int32_t>* ids) const {
  if (const auto whole = wholes_.find(piece); whole != wholes_.end()) {
    ids->push_back(whole->second);
    return;
  }
  std::vector<int32_t> symbols;
  symbols.reserve(piece.size());
  Symbols(piece, &symbols);
  if (symbols.size() <= kFew) {
    JoinFew(&symbols);
  } else {
    JoinMany(&symbols);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

}  // namespace rung
