#include "worker/text/pre_tokenizer.h"

#include <unicode/uchar.h>

#include <span>

#include "absl/strings/match.h"
#include "worker/text/characters.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

// found(piece, whether the piece starts where the text did)
using Found = absl::FunctionRef<void(std::string_view, bool)>;

// Pieces between blanks; with `punctuation` every mark is one of its own.
void CutAt(std::string_view text, bool blanks, bool punctuation, bool at_start, Found found) {
  size_t open = 0;
  const auto close = [&](size_t end) {
    if (end > open) found(text.substr(open, end - open), at_start && open == 0);
  };
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = NextCharacter(text, &i).value_or(0xFFFD);
    if (blanks && IsBlank(c)) {
      close(begin);
      open = i;
    } else if (punctuation && IsPunctuation(c)) {
      close(begin);
      found(text.substr(begin, i - begin), at_start && begin == 0);
      open = i;
    }
  }
  close(text.size());
}

void Cut(BertWords, std::string_view text, bool at_start, Found found) {
  CutAt(text, true, true, at_start, found);
}
void Cut(BlankWords, std::string_view text, bool at_start, Found found) {
  CutAt(text, true, false, at_start, found);
}
void Cut(Punctuation, std::string_view text, bool at_start, Found found) {
  CutAt(text, false, true, at_start, found);
}

void Cut(const Metaspace& step, std::string_view text, bool at_start, Found found) {
  const std::string& mark = step.replacement;
  std::string replaced;
  replaced.reserve(text.size() + 8);
  const bool prefixed = text.starts_with(' ') || text.starts_with(mark);
  const bool wanted =
      step.prefix == Metaspace::Prefix::kAlways || (step.prefix == Metaspace::Prefix::kFirst && at_start);
  if (wanted && !prefixed) replaced = mark;
  for (const char c : text) {
    if (c == ' ') {
      replaced += mark;
    } else {
      replaced.push_back(c);
    }
  }
  const std::string_view whole = replaced;
  for (size_t begin = 0; begin < whole.size();) {
    size_t end = step.split ? whole.find(mark, begin + 1) : std::string_view::npos;
    if (end == std::string_view::npos) end = whole.size();
    found(whole.substr(begin, end - begin), at_start && begin == 0);
    begin = end;
  }
}

// The categories of the regular expression engine's tables.
constexpr int kRegexUnicodeMajor = 15;
enum class Kind { kBlank, kLetter, kNumber, kOther };

Kind KindOf(char32_t c) {
  if (c < 0x80) {
    if (IsBlank(c)) return Kind::kBlank;
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return Kind::kLetter;
    return c >= '0' && c <= '9' ? Kind::kNumber : Kind::kOther;
  }
  if (IsBlank(c)) return Kind::kBlank;
  const uint32_t mask = U_GET_GC_MASK(static_cast<UChar32>(c));
  if ((mask & (U_GC_L_MASK | U_GC_N_MASK)) == 0) return Kind::kOther;
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  if (age[0] > kRegexUnicodeMajor) return Kind::kOther;
  return (mask & U_GC_L_MASK) != 0 ? Kind::kLetter : Kind::kNumber;
}

// Bytes of 's 't 're 've 'm 'll 'd at the start of `text`, or 0.
size_t Contraction(std::string_view text) {
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(ending)) return ending.size();
  }
  return 0;
}

// The end of the run of `kind` that starts at `begin`; *last is where its last character begins.
size_t RunEnd(std::string_view text, size_t begin, Kind kind, size_t* last) {
  size_t end = begin;
  while (end < text.size()) {
    size_t next = end;
    if (KindOf(NextCharacter(text, &next).value_or(0xFFFD)) != kind) break;
    *last = end;
    end = next;
  }
  return end;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t WordEnd(std::string_view text, size_t begin) {
  size_t last = begin;
  if (text[begin] == '\'') {
    if (const size_t bytes = Contraction(text.substr(begin)); bytes > 0) return begin + bytes;
  }
  const size_t word = text[begin] == ' ' && begin + 1 < text.size() ? begin + 1 : begin;
  size_t next = word;
  const Kind kind = KindOf(NextCharacter(text, &next).value_or(0xFFFD));
  if (kind != Kind::kBlank) return RunEnd(text, word, kind, &last);
  const size_t end = RunEnd(text, begin, Kind::kBlank, &last);
  // The last blank before a word is left to the word.
  return end == text.size() || last == begin ? end : last;
}

void Cut(ByteLevel step, std::string_view text, bool at_start, Found found) {
  std::string prefixed;
  if (step.add_prefix_space && !text.starts_with(' ')) {
    prefixed = " " + std::string(text);
    text = prefixed;
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = step.split ? WordEnd(text, begin) : text.size();
    found(text.substr(begin, end - begin), at_start && begin == 0);
    begin = end;
  }
}

void CutFrom(std::span<const PreTokenizerStep> steps, std::string_view text, bool at_start,
             absl::FunctionRef<void(std::string_view)> found) {
  if (text.empty()) return;
  if (steps.empty()) {
    found(text);
    return;
  }
  const auto next = [&](std::string_view piece, bool start) {
    CutFrom(steps.subspan(1), piece, start, found);
  };
  std::visit([&](const auto& step) { Cut(step, text, at_start, next); }, steps.front());
}

}  // namespace

void CutPieces(const std::vector<PreTokenizerStep>& steps, std::string_view text, bool at_start,
               absl::FunctionRef<void(std::string_view)> found) {
  CutFrom(steps, text, at_start, found);
}

}  // namespace rung
