// Extended grapheme clusters (Unicode Standard Annex 29). Pure functions; thread-safe.
#pragma once

#include <cstddef>
#include <string_view>

namespace rung {

// Where the cluster ends that starts at `start` < text.size(). Without rule GB9c (Indic conjuncts,
// Unicode 15.1).
size_t NextGraphemeBreak(std::string_view text, size_t start);

}  // namespace rung
