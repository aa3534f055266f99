// Cuts a normalised text into the pieces that the subword model gets: the pre-tokenizers of Hugging Face's
// `tokenizers`, one after the other. Values; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"

namespace rung {

struct BertWords {};    // at blanks, which go; every punctuation mark is a piece of its own
struct BlankWords {};   // at blanks, which go
struct Punctuation {};  // every punctuation mark is a piece of its own
// Blanks become `replacement`, which begins a new piece (sentencepiece).
struct Metaspace {
  enum class Prefix { kAlways, kFirst, kNever };  // kFirst: only at the very start of the text
  std::string replacement = "\u2581";
  Prefix prefix = Prefix::kAlways;
  bool split = true;
};
// The words of Radford et al. 2019. The pieces stay bytes: the model reads the byte alphabet.
struct ByteLevel {
  bool add_prefix_space = false;
  bool split = true;
};

using PreTokenizerStep = std::variant<BertWords, BlankWords, Punctuation, Metaspace, ByteLevel>;

// Calls found(piece) for each piece, in order; none is empty. at_start: `text` is the start of what the user
// gave.
void CutPieces(const std::vector<PreTokenizerStep>& steps, std::string_view text, bool at_start,
               absl::FunctionRef<void(std::string_view)> found);

}  // namespace rung
