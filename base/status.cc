#include "base/status.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_split.h"

namespace rung {
namespace {

constexpr char kDetailUrl[] = "rung.dev/error-detail";
constexpr char kSeparator = '\x1f';  // ASCII unit separator; user text is stripped of it below

std::string Stripped(std::string text) {
  std::replace(text.begin(), text.end(), kSeparator, ' ');
  return text;
}

std::string PersonText(const ErrorDetail& detail) {
  std::string text = detail.message;
  if (!detail.where.empty()) text += " (" + detail.where + ")";
  text += ".";
  if (!detail.mend.empty()) text += " " + detail.mend + ".";
  return text;
}

}  // namespace

absl::Status MakeError(absl::StatusCode status_code, ErrorDetail detail) {
  absl::Status status(status_code, PersonText(detail));
  std::string payload;
  for (const std::string& field : {detail.code, detail.message, detail.where, detail.value, detail.mend}) {
    payload += Stripped(field) + kSeparator;
  }
  status.SetPayload(kDetailUrl, absl::Cord(payload));
  return status;
}

std::optional<ErrorDetail> GetErrorDetail(const absl::Status& status) {
  const auto payload = status.GetPayload(kDetailUrl);
  if (!payload.has_value()) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(std::string(*payload), kSeparator);
  if (fields.size() < 5) return std::nullopt;
  return ErrorDetail{fields[0], fields[1], fields[2], fields[3], fields[4]};
}

absl::Status WithWhere(const absl::Status& status, const std::string& where) {
  std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (status.ok() || !detail.has_value() || !detail->where.empty()) return status;
  detail->where = where;
  return MakeError(status.code(), *std::move(detail));
}

std::string Shortened(const std::string& text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  if (const auto detail = GetErrorDetail(status); detail.has_value()) {
    if (detail->code.rfind("E01", 0) == 0) return 2;
    if (detail->code == "E0678") return 78;
  }
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return 3;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return 4;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return 5;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss:
      return 6;
    case absl::StatusCode::kUnavailable:
      return 7;
    case absl::StatusCode::kDeadlineExceeded:
      return 8;
    case absl::StatusCode::kAborted:
      return 75;
    case absl::StatusCode::kCancelled:
      return 130;
    default:
      return 1;
  }
}

// Letters of another case are the same letter: who types "adamw" means AdamW, not Adam.
int EditDistance(const std::string& a_in, const std::string& b_in) {
  const std::string a = absl::AsciiStrToLower(a_in);
  const std::string b = absl::AsciiStrToLower(b_in);
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace rung
