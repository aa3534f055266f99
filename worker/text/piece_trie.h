// All pieces of a vocabulary that a text starts with, in one walk over its bytes. The children of a node
// stand side by side, ordered by their byte. Immutable; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace rung {

class PieceTrie {
 public:
  // (piece, id), id >= 0; empty pieces are left out, of equal ones the last counts.
  explicit PieceTrie(std::vector<std::pair<std::string_view, int32_t>> pieces);

  struct Match {
    size_t length = 0;  // bytes; 0: none
    int32_t id = -1;
  };
  // The longest piece that `text` starts with.
  Match Longest(std::string_view text) const {
    Match best;
    ForEachPrefix(text, [&](size_t length, int32_t id) { best = {length, id}; });
    return best;
  }

  // found(bytes, id) for every piece that `text` starts with, the shortest first.
  template <typename Found>
  void ForEachPrefix(std::string_view text, const Found& found) const {
    if (text.empty()) return;
    uint32_t at = roots_[static_cast<unsigned char>(text[0])];
    for (size_t length = 1; at != kNone; ++length) {
      const Node& node = nodes_[at];
      if (node.id >= 0) found(length, node.id);
      if (length == text.size()) return;
      at = Child(node, static_cast<unsigned char>(text[length]));
    }
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Node {
    uint32_t first_child = 0;
    int32_t id = -1;  // of the piece that ends here
    uint16_t children = 0;
    unsigned char byte = 0;
  };

  uint32_t Child(const Node& node, unsigned char byte) const {
    uint32_t low = node.first_child, high = low + node.children;
    while (high - low > 8) {
      const uint32_t middle = low + (high - low) / 2;
      (nodes_[middle].byte <= byte ? low : high) = middle;
    }
    for (; low < high; ++low) {
      if (nodes_[low].byte == byte) return low;
    }
    return kNone;
  }

  std::array<uint32_t, 256> roots_;
  std::vector<Node> nodes_;
};

}  // namespace rung
