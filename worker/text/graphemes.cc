#include "worker/text/graphemes.h"

#include <unicode/uchar.h>

#include "worker/text/utf8.h"

namespace rung {
namespace {

UGraphemeClusterBreak BreakClass(char32_t c) {
  if (c < 0x80) {
    if (c == '\r') return U_GCB_CR;
    if (c == '\n') return U_GCB_LF;
    return c < 0x20 || c == 0x7F ? U_GCB_CONTROL : U_GCB_OTHER;
  }
  return static_cast<UGraphemeClusterBreak>(
      u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK));
}

bool IsPictographic(char32_t c) {
  return c >= 0x80 && u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
}

bool IsEdge(UGraphemeClusterBreak c) {
  return c == U_GCB_CONTROL || c == U_GCB_CR || c == U_GCB_LF;
}

// GB6 to GB8.
bool JoinsHangul(UGraphemeClusterBreak before, UGraphemeClusterBreak after) {
  switch (before) {
    case U_GCB_L:
      return after == U_GCB_L || after == U_GCB_V || after == U_GCB_LV || after == U_GCB_LVT;
    case U_GCB_LV:
    case U_GCB_V:
      return after == U_GCB_V || after == U_GCB_T;
    case U_GCB_LVT:
    case U_GCB_T:
      return after == U_GCB_T;
    default:
      return false;
  }
}

// What the rules ask of the characters before a possible break.
struct Before {
  UGraphemeClusterBreak kind = U_GCB_OTHER;
  bool pictograph = false;        // a pictograph and extenders (GB11)
  bool pictograph_joins = false;  // the same, then a zero-width joiner
  bool odd_indicators = false;    // an odd number of regional indicators (GB12, GB13)

  void Add(UGraphemeClusterBreak next, char32_t c) {
    kind = next;
    pictograph_joins = pictograph && next == U_GCB_ZWJ;
    pictograph = IsPictographic(c) || (pictograph && next == U_GCB_EXTEND);
    odd_indicators = next == U_GCB_REGIONAL_INDICATOR && !odd_indicators;
  }

  bool Joins(UGraphemeClusterBreak next, char32_t c) const {
    if (kind == U_GCB_CR && next == U_GCB_LF) return true;
    if (IsEdge(kind) || IsEdge(next)) return false;
    if (next == U_GCB_EXTEND || next == U_GCB_ZWJ || next == U_GCB_SPACING_MARK || kind == U_GCB_PREPEND)
      return true;
    if (next == U_GCB_REGIONAL_INDICATOR && odd_indicators) return true;
    return JoinsHangul(kind, next) || (pictograph_joins && IsPictographic(c));
  }
};

}  // namespace

size_t NextGraphemeBreak(std::string_view text, size_t start) {
  size_t end = start;
  // Between two printable ASCII characters there is always a break.
  const auto plain = [&](size_t i) { return text[i] >= 0x20 && text[i] < 0x7F; };
  if (plain(start) && (start + 1 == text.size() || plain(start + 1))) return start + 1;
  Before before;
  const char32_t first = NextCharacter(text, &end).value_or(0xFFFD);
  before.Add(BreakClass(first), first);
  while (end < text.size()) {
    size_t next = end;
    const char32_t c = NextCharacter(text, &next).value_or(0xFFFD);
    const UGraphemeClusterBreak kind = BreakClass(c);
    if (!before.Joins(kind, c)) break;
    before.Add(kind, c);
    end = next;
  }
  return end;
}

}  // namespace rung
