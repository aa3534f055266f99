#include "worker/text/normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "worker/text/characters.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

// The normalisation and mark tables of `tokenizers` know characters up to this version; later ones are to it
// unassigned: no marks, no decomposition.
constexpr int kFormUnicodeMajor = 9;

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool IsUnknown(char32_t c) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] > kFormUnicodeMajor;
}

// A mark by those tables: later versions took two of theirs out and one in.
bool IsMark(char32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;
  if (c == 0x111C9) return false;
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0 && !IsUnknown(c);
}

const icu::Normalizer2& FormOf(UnicodeForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = nullptr;
  switch (form) {
    case UnicodeForm::kNfc:
      normalizer = icu::Normalizer2::getNFCInstance(error);
      break;
    case UnicodeForm::kNfd:
      normalizer = icu::Normalizer2::getNFDInstance(error);
      break;
    case UnicodeForm::kNfkc:
      normalizer = icu::Normalizer2::getNFKCInstance(error);
      break;
    case UnicodeForm::kNfkd:
      normalizer = icu::Normalizer2::getNFKDInstance(error);
      break;
  }
  RUNG_CHECK(U_SUCCESS(error), "ICU carries its normalisation data");
  return *normalizer;
}

void AppendForm(const icu::Normalizer2& form, const std::u32string& text, std::string* out) {
  if (text.empty()) return;
  UErrorCode error = U_ZERO_ERROR;
  const icu::UnicodeString source = icu::UnicodeString::fromUTF32(
      reinterpret_cast<const UChar32*>(text.data()), static_cast<int32_t>(text.size()));
  form.normalize(source, error).toUTF8String(*out);
  RUNG_CHECK(U_SUCCESS(error), "normalisation of valid code points");
}

// Characters that the tables of `tokenizers` do not know are starters that nothing composes with.
std::string Apply(UnicodeForm step, std::string_view text) {
  if (IsAscii(text)) return std::string(text);
  const icu::Normalizer2& form = FormOf(step);
  std::string out;
  std::u32string known;
  for (const char32_t c : FromUtf8(text)) {
    if (c < 0x80 || !IsUnknown(c)) {
      known.push_back(c);
      continue;
    }
    AppendForm(form, known, &out);
    known.clear();
    AppendUtf8(c, &out);
  }
  AppendForm(form, known, &out);
  return out;
}

std::string Apply(const BertNormalizer& step, std::string_view text) {
  return NormalizeBert(step, text);
}

std::string Apply(Lowercase, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char32_t c = NextCharacter(text, &i).value_or(0xFFFD);
    AppendUtf8(LowerCharacter(c), &out);
    if (c == kDottedCapitalI) AppendUtf8(0x307, &out);
  }
  return out;
}

std::string Apply(StripAccents, std::string_view text) {
  if (IsAscii(text)) return std::string(text);
  std::string out;
  for (const char32_t c : FromUtf8(text)) {
    if (!IsMark(c)) AppendUtf8(c, &out);
  }
  return out;
}

std::string Apply(StripBlanks step, std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t start = i;
    if (IsBlank(NextCharacter(text, &i).value_or(0xFFFD))) continue;
    begin = std::min(begin, start);
    end = i;
  }
  if (begin == text.size()) return step.left || step.right ? "" : std::string(text);
  if (!step.left) begin = 0;
  if (!step.right) end = text.size();
  return std::string(text.substr(begin, end - begin));
}

std::string Apply(const Prepend& step, std::string_view text) {
  return text.empty() ? "" : step.text + std::string(text);
}

std::string Apply(const ReplaceText& step, std::string_view text) {
  return absl::StrReplaceAll({text.data(), text.size()}, {{step.from, step.to}});
}

std::string Apply(const ReplaceBlanks& step, std::string_view text) {
  const auto belongs = [&step](char32_t c) {
    return step.pattern == BlankPattern::kSpaces ? c == ' ' : IsBlank(c);
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t first = NextCharacter(text, &i).value_or(0xFFFD);
    if (!belongs(first)) {
      out.append(text.substr(begin, i - begin));
      continue;
    }
    size_t count = 1;
    for (size_t next = i; next < text.size(); i = next, ++count) {
      if (!belongs(NextCharacter(text, &next).value_or(0xFFFD))) break;
    }
    const bool line =
        step.pattern == BlankPattern::kBlanksOrLines && (first == '\n' || first == '\r' || first == '\t');
    if (count > 1 || line || step.pattern == BlankPattern::kBlanks) {
      out.append(step.to);
    } else {
      out.append(text.substr(begin, i - begin));
    }
  }
  return out;
}

std::string Apply(const Charsmap& step, std::string_view text) {
  return step.Apply(text);
}

}  // namespace

std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  std::string out(text);
  for (const NormalizerStep& step : steps) {
    out = std::visit([&out](const auto& kind) { return Apply(kind, out); }, step);
  }
  return out;
}

}  // namespace rung
