#include "worker/text/delimited.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

// Of a row: more is another kind of file, or a quote that nobody closed.
constexpr size_t kMaxFields = 4096;
constexpr size_t kMaxRowBytes = size_t{16} << 20;
constexpr char kNoQuote = '\0';
constexpr std::string_view kSeparators = ",;\t";

absl::Status At(const std::string& path, int line, const std::string& code, const std::string& message,
                const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {code, message, absl::StrFormat("%s:%d", path, line), value, mend});
}

// Reads one record after the other. Newlines are \n, \r\n or \r.
class Reader {
 public:
  Reader(std::string_view text, char separator, char quote, const std::string& path)
      : text_(text), separator_(separator), quote_(quote), path_(path) {}

  bool AtEnd() const { return position_ >= text_.size(); }
  int quoted_fields() const { return quoted_fields_; }

  absl::Status Next(DelimitedRecord* record) {
    record->fields.clear();
    record->line = line_;
    row_start_ = position_;
    for (;;) {
      if (record->fields.size() >= kMaxFields) {
        return At(path_, record->line, "E0404",
                  absl::StrFormat("the row has more than %d fields", kMaxFields),
                  absl::StrFormat("%d", kMaxFields + 1), "Check that this is a CSV or TSV file");
      }
      record->fields.emplace_back();
      RUNG_RETURN_IF_ERROR(Field(&record->fields.back()));
      if (AtEnd()) return absl::OkStatus();
      const char c = text_[position_++];
      if (c == separator_) continue;
      if (c == '\r' && !AtEnd() && text_[position_] == '\n') ++position_;
      ++line_;
      return absl::OkStatus();
    }
  }

 private:
  bool AtFieldEnd() const {
    return AtEnd() || text_[position_] == separator_ || text_[position_] == '\n' || text_[position_] == '\r';
  }

  bool IsTooLong() const { return position_ - row_start_ > kMaxRowBytes; }

  absl::Status TooLong(int line) const {
    return At(path_, line, "E0404", absl::StrFormat("the row is longer than %d bytes", kMaxRowBytes), "",
              "Check that this is a CSV or TSV file, and that each quote is closed");
  }

  absl::Status Field(std::string* out) {
    if (quote_ == kNoQuote || AtEnd() || text_[position_] != quote_) {
      const size_t start = position_;
      while (!AtFieldEnd() && !IsTooLong()) ++position_;
      if (IsTooLong()) return TooLong(line_);
      out->assign(text_.substr(start, position_ - start));
      return absl::OkStatus();
    }
    const int opened = line_;
    ++quoted_fields_;
    for (++position_;; ++position_) {
      if (AtEnd()) {
        return At(path_, opened, "E0407", absl::StrFormat("the quote %c opened here is never closed", quote_),
                  std::string(1, quote_), "Close the quote, or double a quote that belongs to the text");
      }
      if (IsTooLong()) return TooLong(opened);
      const char c = text_[position_];
      if (c == quote_) {
        ++position_;
        if (AtEnd() || text_[position_] != quote_) break;
      } else if (c == '\n' || (c == '\r' && text_.substr(position_ + 1, 1) != "\n")) {
        ++line_;
      }
      out->push_back(c);
    }
    if (AtFieldEnd()) return absl::OkStatus();
    return At(path_, line_, "E0407", "text follows a closing quote",
              std::string(text_.substr(position_, std::min<size_t>(20, text_.size() - position_))),
              "Double a quote that belongs to the text (\"\")");
  }

  const std::string_view text_;
  const char separator_;
  const char quote_;
  const std::string& path_;
  size_t position_ = 0;
  size_t row_start_ = 0;
  int line_ = 1;
  int quoted_fields_ = 0;
};

struct Parsed {
  DelimitedFile file;
  int quoted_fields = 0;
};

bool IsBlankLine(const DelimitedRecord& record) {
  return record.fields.size() == 1 && absl::StripAsciiWhitespace(record.fields[0]).empty();
}

absl::StatusOr<Parsed> ParseWith(const std::string& text, char separator, char quote,
                                 const std::string& path) {
  Reader reader(text, separator, quote, path);
  Parsed parsed;
  DelimitedRecord record;
  while (!reader.AtEnd()) {
    RUNG_RETURN_IF_ERROR(reader.Next(&record));
    if (IsBlankLine(record)) continue;
    if (parsed.file.header.empty()) {
      for (std::string& name : record.fields) {
        absl::StripAsciiWhitespace(&name);
        parsed.file.header.push_back(std::move(name));
      }
      continue;
    }
    if (record.fields.size() != parsed.file.header.size()) {
      return At(path, record.line, "E0404",
                absl::StrFormat("the row has %d fields, the first line, which is taken as the header, has %d",
                                record.fields.size(), parsed.file.header.size()),
                absl::StrFormat("%d", record.fields.size()),
                "Put texts that hold the separator into quotes, give every row all columns, and the file a "
                "header line");
    }
    parsed.file.records.push_back(std::move(record));
  }
  parsed.quoted_fields = reader.quoted_fields();
  return parsed;
}

std::vector<std::string> HeaderWith(const std::string& text, char separator, char quote) {
  const std::string path;
  Reader reader(text, separator, quote, path);
  DelimitedRecord record;
  while (!reader.AtEnd()) {
    // Too many fields: the separator is right all the same, and with it the row gets its own error.
    if (!reader.Next(&record).ok()) {
      return record.fields.size() < kMaxFields ? std::vector<std::string>{} : record.fields;
    }
    if (!IsBlankLine(record)) break;
  }
  for (std::string& name : record.fields) absl::StripAsciiWhitespace(&name);
  return record.fields;
}

char FindSeparator(const std::string& text, const std::vector<std::string>& wanted) {
  char best = ',';
  std::pair<size_t, size_t> best_score{0, 0};  // wanted columns found, columns
  for (const char separator : kSeparators) {
    for (const char quote : {'"', '\''}) {
      const std::vector<std::string> header = HeaderWith(text, separator, quote);
      std::pair<size_t, size_t> score{0, header.size()};
      for (const std::string& name : wanted) {
        if (std::find(header.begin(), header.end(), name) != header.end()) ++score.first;
      }
      if (score > best_score) {
        best = separator;
        best_score = score;
      }
    }
  }
  return best;
}

}  // namespace

absl::StatusOr<DelimitedFile> ParseDelimited(const std::string& text, const std::string& path,
                                             const std::vector<std::string>& wanted) {
  const char separator = FindSeparator(text, wanted);
  absl::StatusOr<Parsed> parsed = ParseWith(text, separator, '"', path);
  if (text.find('\'') != std::string::npos) {
    absl::StatusOr<Parsed> single = ParseWith(text, separator, '\'', path);
    const bool most =
        single.ok() && 2 * static_cast<size_t>(single->quoted_fields) > single->file.records.size();
    if (most && (!parsed.ok() || parsed->quoted_fields < single->quoted_fields)) parsed = std::move(single);
  }
  if (!parsed.ok() && separator == '\t') {
    absl::StatusOr<Parsed> plain = ParseWith(text, separator, kNoQuote, path);
    if (plain.ok()) parsed = std::move(plain);
  }
  if (!parsed.ok()) return parsed.status();
  if (parsed->file.header.empty() || parsed->file.records.empty()) {
    return At(path, 1, "E0401",
              parsed->file.header.empty() ? "the file is empty" : "the file has a header but no rows", path,
              "Give a file with a header line and at least one row");
  }
  return std::move(parsed->file);
}

}  // namespace rung
