#include "worker/text/piece_trie.h"

#include <algorithm>
#include <deque>

namespace rung {

PieceTrie::PieceTrie(std::vector<std::pair<std::string_view, int32_t>> pieces) {
  using Piece = std::pair<std::string_view, int32_t>;
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.first < b.first; });
  roots_.fill(kNone);
  struct Range {
    uint32_t parent;  // kNone: the root
    size_t begin, end, depth;
  };
  // Breadth first: a node's children are made in one go, so they stand side by side.
  std::deque<Range> open = {{kNone, 0, pieces.size(), 0}};
  while (!open.empty()) {
    const Range range = open.front();
    open.pop_front();
    size_t at = range.begin;
    for (; at < range.end && pieces[at].first.size() == range.depth; ++at) {
      if (range.parent != kNone) nodes_[range.parent].id = pieces[at].second;
    }
    const auto first = static_cast<uint32_t>(nodes_.size());
    while (at < range.end) {
      const size_t begin = at;
      const auto byte = static_cast<unsigned char>(pieces[at].first[range.depth]);
      while (at < range.end && static_cast<unsigned char>(pieces[at].first[range.depth]) == byte) ++at;
      const auto child = static_cast<uint32_t>(nodes_.size());
      if (range.parent == kNone) roots_[byte] = child;
      nodes_.push_back({0, -1, 0, byte});
      open.push_back({child, begin, at, range.depth + 1});
    }
    if (range.parent == kNone) continue;
    nodes_[range.parent].first_child = first;
    nodes_[range.parent].children = static_cast<uint16_t>(nodes_.size() - first);
  }
}

}  // namespace rung
