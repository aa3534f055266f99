// sentencepiece's precompiled character map ("Precompiled" in tokenizer.json): a double-array trie (Aoe 1989)
// from byte strings to their replacements. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

class Charsmap {
 public:
  // `bytes`: u32 size of the trie, the trie, the replacements, each ended by a zero. InvalidArgument with a
  // bare message if they are no such map.
  static absl::StatusOr<Charsmap> Parse(std::string_view bytes);

  // Grapheme clusters of at most 5 bytes are looked up whole, all else by character; what is found is
  // replaced. As in `tokenizers` a cluster counts as found when its beginning is: the rest of it is dropped.
  std::string Apply(std::string_view text) const;

 private:
  std::optional<std::string_view> Find(std::string_view key) const;
  void ApplyCluster(std::string_view cluster, std::string* out) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace rung
