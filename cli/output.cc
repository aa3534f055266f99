#include "cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

// Code points, as a stand-in for columns: right for the scripts our users write labels in, close enough for
// the rest.
size_t Columns(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string Padded(const std::string& text, size_t width) {
  const size_t columns = Columns(text);
  return columns >= width ? text : text + std::string(width - columns, ' ');
}

std::string TrimmedRight(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

}  // namespace

Terminal FindTerminal() {
  Terminal terminal;
  terminal.out_is_tty = isatty(STDOUT_FILENO) == 1;
  terminal.err_is_tty = isatty(STDERR_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  terminal.colour = terminal.out_is_tty && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
                    std::string(term) != "dumb";
  winsize size{};
  if (terminal.out_is_tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  }
  return terminal;
}

std::string WithoutControls(const std::string& text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                    static_cast<unsigned char>(text[i + 1]) <= 0x9F;
    if (c1) ++i;
    if (c1 || c == 0x7F || (c < 0x20 && c != '\t')) {
      safe += kReplacement;
    } else {
      safe += text[i];
    }
  }
  return safe;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void Table::AddRow(std::vector<std::string> cells) {
  RUNG_CHECK(cells.size() == headers_.size(), "a row has as many cells as the table has columns");
  rows_.push_back(std::move(cells));
}

std::string Table::Text(const Terminal& terminal) const {
  std::vector<std::vector<std::string>> rows = rows_;
  if (terminal.out_is_tty) {
    for (auto& row : rows) std::transform(row.begin(), row.end(), row.begin(), WithoutControls);
  }
  std::vector<size_t> widths;
  for (const std::string& header : headers_) widths.push_back(Columns(header));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Columns(row[i]));
  }
  const auto line = [&widths](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) text += (i == 0 ? "" : "  ") + Padded(cells[i], widths[i]);
    return TrimmedRight(text);
  };
  std::string text = terminal.colour ? "\x1b[1m" + line(headers_) + "\x1b[0m\n" : line(headers_) + "\n";
  for (const auto& row : rows) text += line(row) + "\n";
  return text;
}

std::string DurationText(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 0) return "0 s";
  if (seconds < 10) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrFormat("%d s", whole);
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole % 3600 / 60);
}

std::string NumberText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return absl::StrFormat("%.6g", value);
}

std::string LocalTimeText(int64_t utc_ms) {
  if (utc_ms == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", absl::FromUnixMillis(utc_ms), absl::LocalTimeZone());
}

Json JsonTime(int64_t utc_ms) {
  if (utc_ms == 0) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(utc_ms), absl::UTCTimeZone());
}

Json JsonNumber(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

void PrintText(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void PrintJson(const Json& document) {
  PrintText(document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void PrintNote(const std::string& text) {
  const std::string line = text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string ErrorText(const absl::Status& status, Format format, const Terminal& terminal) {
  const ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{
      "E0100", std::string(status.message()), "", "", "Look into the logs of the state directory"});
  if (format == Format::kJson) {
    const Json error = {{"code", detail.code},
                        {"message", detail.message},
                        {"where", detail.where},
                        {"value", detail.value},
                        {"mend", detail.mend}};
    return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::string text = "error " + detail.code + ": " + detail.message + "\n";
  if (!detail.where.empty()) text += "  where: " + detail.where + "\n";
  if (!detail.value.empty() && detail.value != detail.where) text += "  value: " + detail.value + "\n";
  if (!detail.mend.empty()) text += "  mend:  " + detail.mend + "\n";
  if (!terminal.err_is_tty) return text;
  std::string safe;
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos;
       begin = end + 1, end = text.find('\n', begin)) {
    safe += WithoutControls(text.substr(begin, end - begin)) + "\n";
  }
  return safe;
}

void PrintError(const absl::Status& status, Format format, const Terminal& terminal) {
  const std::string text = ErrorText(status, format, terminal);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace rung
