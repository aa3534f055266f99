// The last stage of a tokenizer: a piece of text, cut out by the pre-tokenizer, to ids. Immutable;
// thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace rung {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Vocabulary = absl::flat_hash_map<std::string, int32_t, TextHash, std::equal_to<>>;

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;
  // Appends the ids of `piece`. Valid UTF-8, not empty.
  virtual void Encode(std::string_view piece, std::vector<int32_t>* ids) const = 0;
};

}  // namespace rung
