// How Rung talks to people and scripts: tables, JSON, errors, times. Data goes to stdout, the rest to stderr.
// Thread-safe: functions and values only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace rung {

enum class Format { kTable, kJson };

// What the two output streams are. NO_COLOR, TERM=dumb and pipes switch colours off.
struct Terminal {
  bool out_is_tty = false;
  bool err_is_tty = false;
  bool colour = false;  // of stdout
  int width = 80;       // columns; 80 where unknown
};
Terminal FindTerminal();

// The one way to show text that others wrote (names, messages, logs): control characters (C0 but tab, DEL,
// C1), what reorders or breaks a line, and bytes that are no UTF-8 become visible escapes ("\x1b", "\u009b",
// "\r"), so that no study or trainer drives the terminal or forges a line. JSON output escapes by itself.
std::string Printable(const std::string& text);
std::string PrintableLines(const std::string& text);  // the same, with line breaks kept

// For a cell of a table: what follows the first line is " ...".
std::string FirstLine(const std::string& text);

// Columns padded to their widest cell, two blanks apart; numbers are the caller's business. Cells are made
// Printable.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  void AddRow(std::vector<std::string> cells);  // as many cells as headers
  std::string Text(const Terminal& terminal) const;
  bool empty() const { return rows_.empty(); }

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

// "4.5 s", "3 min 12 s", "2 h 05 min"
std::string DurationText(absl::Duration duration);
// "1 worker", "2 workers"
std::string Counted(int64_t count, const std::string& noun);
// "0.012 MB", "91 MB", "1.3 GB"
std::string BytesText(int64_t bytes);
// Shortest of 6 significant digits: scores and budgets for people.
std::string NumberText(double value);
// Local time with zone, for tables; "-" for 0.
std::string LocalTimeText(int64_t utc_ms);

// RFC 3339 in UTC with milliseconds and Z; null for 0.
nlohmann::ordered_json JsonTime(int64_t utc_ms);
// A finite number, or null.
nlohmann::ordered_json JsonNumber(double value);

void PrintText(const std::string& text);                 // to stdout as it is
void PrintJson(const nlohmann::ordered_json& document);  // to stdout, indented, with a newline
void PrintNote(const std::string& text);                 // one line to stderr
// At the end of a program: whether all that was printed got where stdout leads. A reader that left (`| head`)
// is no error. Errors: as WriteError (base/file.h).
absl::Status CheckPrinted();

// {"error": {"code", "message", "where", "value", "mend"}} or lines for a person; to stderr.
std::string ErrorText(const absl::Status& status, Format format);
void PrintError(const absl::Status& status, Format format);

}  // namespace rung
