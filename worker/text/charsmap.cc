#include "worker/text/charsmap.h"

#include "worker/text/graphemes.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

// A unit of the double array as darts-clone lays it out.
bool HasLeaf(uint32_t unit) {
  return ((unit >> 8) & 1) == 1;
}
uint32_t Value(uint32_t unit) {
  return unit & ((uint32_t{1} << 31) - 1);
}
uint32_t Label(uint32_t unit) {
  return unit & ((uint32_t{1} << 31) | 0xFF);
}
uint32_t Offset(uint32_t unit) {
  return (unit >> 10) << ((unit & (uint32_t{1} << 9)) >> 6);
}

uint32_t ReadUnit(std::string_view bytes, size_t at) {
  uint32_t unit = 0;
  for (size_t i = 4; i-- > 0;) unit = unit << 8 | static_cast<unsigned char>(bytes[at + i]);
  return unit;
}

constexpr size_t kLongestCluster = 5;  // bytes

}  // namespace

absl::StatusOr<Charsmap> Charsmap::Parse(std::string_view bytes) {
  if (bytes.size() < 4) return absl::InvalidArgumentError("it is shorter than 4 bytes");
  const size_t trie_bytes = ReadUnit(bytes, 0);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4) {
    return absl::InvalidArgumentError("the size of its trie does not fit");
  }
  Charsmap map;
  map.units_.reserve(trie_bytes / 4);
  for (size_t at = 4; at < 4 + trie_bytes; at += 4) map.units_.push_back(ReadUnit(bytes, at));
  map.replacements_ = std::string(bytes.substr(4 + trie_bytes));
  return map;
}

// The shortest key that `key` starts with decides. Offsets come from the file: each is checked.
std::optional<std::string_view> Charsmap::Find(std::string_view key) const {
  uint32_t at = Offset(units_[0]);
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    at ^= byte;
    if (at >= units_.size() || Label(units_[at]) != byte) return std::nullopt;
    const uint32_t unit = units_[at];
    at ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (at >= units_.size()) return std::nullopt;
    const size_t begin = Value(units_[at]);
    if (begin >= replacements_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(replacements_).substr(begin);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

void Charsmap::ApplyCluster(std::string_view cluster, std::string* out) const {
  if (cluster.size() <= kLongestCluster) {
    if (const auto found = Find(cluster)) {
      out->append(*found);
      return;
    }
  }
  for (size_t at = 0; at < cluster.size();) {
    size_t end = at;
    NextCharacter(cluster, &end);
    const std::string_view character = cluster.substr(at, end - at);
    out->append(Find(character).value_or(character));
    at = end;
  }
}

std::string Charsmap::Apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size() + 8);
  for (size_t at = 0; at < text.size();) {
    const size_t end = NextGraphemeBreak(text, at);
    ApplyCluster(text.substr(at, end - at), &out);
    at = end;
  }
  return out;
}

}  // namespace rung
