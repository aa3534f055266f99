// Tokens that are found in a text before anything else is cut ("[SEP]" typed by a person is the separator).
// Immutable; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"

namespace rung {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool normalized = false;   // looked for in the normalised text, else in the text as it is
  bool single_word = false;  // only where no word character stands beside it
  bool left_strip = false;   // takes the blanks before it
  bool right_strip = false;  // takes the blanks behind it
};

class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Calls gap(text, where it starts) and found(id) in text order. Matches are leftmost, the longest first,
  // and do not overlap.
  void Split(std::string_view text, absl::FunctionRef<void(std::string_view, size_t)> gap,
             absl::FunctionRef<void(int32_t)> found) const;
  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* LongestAt(std::string_view text, size_t position) const;

  std::vector<AddedToken> tokens_;  // the longest first
  std::array<bool, 256> begins_{};  // whether a token begins with this byte
};

}  // namespace rung
