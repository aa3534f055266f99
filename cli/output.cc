#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "proto/daemon_output.h"
#include "proto/error_text.h"

namespace rung {
namespace {

using Json = nlohmann::ordered_json;

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

std::string Printable(const std::string& text) {
  return OneLine(text);
}

std::string PrintableLines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::transform(lines.begin(), lines.end(), lines.begin(), Printable);
  return absl::StrJoin(lines, "\n");
}

std::string FirstLine(const std::string& text) {
  const size_t end = text.find('\n');
  return end == std::string::npos || end + 1 == text.size() ? text.substr(0, end)
                                                            : text.substr(0, end) + " ...";
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  std::transform(headers_.begin(), headers_.end(), headers_.begin(), Printable);
}

void Table::AddRow(std::vector<std::string> cells) {
  RUNG_CHECK(cells.size() == headers_.size(), "a row has as many cells as the table has columns");
  rows_.push_back(std::move(cells));
}

std::string Table::Text(const Terminal& terminal) const {
  std::vector<std::vector<std::string>> rows = rows_;
  for (auto& row : rows) std::transform(row.begin(), row.end(), row.begin(), Printable);
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

std::string Counted(int64_t count, const std::string& noun) {
  return absl::StrFormat("%d %s%s", count, noun, count == 1 ? "" : "s");
}

std::string BytesText(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (size >= 1e12) return absl::StrFormat("%.1f TB", size / 1e12);
  if (size >= 1e9) return absl::StrFormat("%.1f GB", size / 1e9);
  if (size >= 1e7) return absl::StrFormat("%.0f MB", size / 1e6);
  return absl::StrFormat("%.2g MB", std::max(.001, size / 1e6));
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

absl::Status CheckPrinted() {
  const bool flushed = std::fflush(stdout) == 0;
  const int error = errno;
  if (flushed && std::ferror(stdout) == 0) return absl::OkStatus();
  pollfd pipe{STDOUT_FILENO, POLLOUT, 0};
  if (poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR) != 0) return absl::OkStatus();
  return WriteError("standard output", flushed ? EIO : error);
}

void PrintJson(const Json& document) {
  const bool ascii = isatty(STDOUT_FILENO) != 0;  // a terminal obeys some characters beyond ASCII too
  PrintText(document.dump(2, ' ', ascii, Json::error_handler_t::replace) + "\n");
}

void PrintNote(const std::string& text) {
  const std::string line = text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string ErrorText(const absl::Status& status, Format format) {
  return ErrorText(status, format == Format::kJson, Printable);
}

void PrintError(const absl::Status& status, Format format) {
  const std::string text = ErrorText(status, format);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace rung
