#include "worker/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "worker/text/characters.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

// Where the character before `position` > 0 begins.
size_t StepBack(std::string_view text, size_t position) {
  do {
    --position;
  } while (position > 0 && ContinuesCharacter(text[position]));
  return position;
}

char32_t CharacterAt(std::string_view text, size_t position) {
  return NextCharacter(text, &position).value_or(0xFFFD);
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && IsWordCharacter(CharacterAt(text, StepBack(text, begin)))) return false;
  return end == text.size() || !IsWordCharacter(CharacterAt(text, end));
}

size_t WithoutBlanksBefore(std::string_view text, size_t begin, size_t least) {
  while (begin > least) {
    const size_t previous = StepBack(text, begin);
    if (!IsBlank(CharacterAt(text, previous))) break;
    begin = previous;
  }
  return std::max(begin, least);
}

size_t WithoutBlanksBehind(std::string_view text, size_t end) {
  while (end < text.size()) {
    size_t next = end;
    if (!IsBlank(NextCharacter(text, &next).value_or(0xFFFD))) break;
    end = next;
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return a.content.size() > b.content.size();
  });
  for (const AddedToken& token : tokens_) begins_[static_cast<unsigned char>(token.content[0])] = true;
}

const AddedToken* AddedTokens::LongestAt(std::string_view text, size_t position) const {
  if (!begins_[static_cast<unsigned char>(text[position])]) return nullptr;
  for (const AddedToken& token : tokens_) {
    if (text.compare(position, token.content.size(), token.content) == 0) return &token;
  }
  return nullptr;
}

void AddedTokens::Split(std::string_view text, absl::FunctionRef<void(std::string_view, size_t)> gap,
                        absl::FunctionRef<void(int32_t)> found) const {
  size_t open = 0;
  for (size_t i = 0; i < text.size() && !tokens_.empty();) {
    const AddedToken* token = LongestAt(text, i);
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + token->content.size();
    i = end;
    if (token->single_word && !StandsAlone(text, begin, end)) continue;
    if (token->left_strip) begin = WithoutBlanksBefore(text, begin, open);
    if (token->right_strip) end = WithoutBlanksBehind(text, end);
    if (begin > open) gap(text.substr(open, begin - open), open);
    found(token->id);
    open = end;
    i = std::max(i, end);
  }
  if (open < text.size()) gap(text.substr(open), open);
}

}  // namespace rung
