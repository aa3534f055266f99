#include "worker/text/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/delimited.h"
#include "worker/text/json_file.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxDataBytes = int64_t{2} << 30;
constexpr double kMaxTarget = 3.4e38;  // of a regression: a float
constexpr size_t kNamed = 12;          // an error lists at most so many labels or columns
constexpr size_t kNameBytes = 40;      // and so much of each: with another separator a row is one long name

absl::Status At(const std::string& path, int line, const std::string& code, const std::string& message,
                const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {code, message, absl::StrFormat("%s:%d", path, line), value, mend});
}

std::string Short(const std::string& name) {
  return Shortened(name, kNameBytes);
}

std::string List(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) shown.push_back(Short(names[i]));
  if (shown.size() < names.size()) shown.push_back("...");
  return absl::StrJoin(shown, ", ");
}

// A row as it stands in its file; labels are still texts: a cell for each column, or the names in the one.
struct RawRow {
  std::string text, pair;
  std::vector<std::string> labels;
  int line = 0;
};

bool LabelsAreNames(const DatasetColumns& columns) {
  return columns.task == Task::kMultiLabel && columns.label.size() == 1;
}

void AddLabels(const std::string& cell, const DatasetColumns& columns, RawRow* row) {
  if (!LabelsAreNames(columns)) {
    row->labels.emplace_back(absl::StripAsciiWhitespace(cell));
    return;
  }
  for (const absl::string_view name : absl::StrSplit(cell, columns.separator)) {
    const absl::string_view bare = absl::StripAsciiWhitespace(name);
    if (!bare.empty()) row->labels.emplace_back(bare);
  }
}

// What is no text in UTF-8, by the bytes it begins with.
absl::Status CheckKind(const std::string& text, const std::string& path) {
  struct Kind {
    absl::string_view begin;
    const char* what;
    const char* mend;
  };
  static constexpr Kind kKinds[] = {
      {"\x1F\x8B", "the file is compressed with gzip", "Unpack it (gunzip FILE) and name the unpacked file"},
      {"\xFD"
       "7zXZ",
       "the file is compressed with xz", "Unpack it (unxz FILE) and name the unpacked file"},
      {"\x28\xB5\x2F\xFD", "the file is compressed with zstd",
       "Unpack it (unzstd FILE) and name the unpacked file"},
      {"PK\x03\x04", "the file is a ZIP archive, or a spreadsheet", "Save it as CSV in UTF-8"},
      {"PAR1", "the file is Parquet", "Save it as CSV or JSONL in UTF-8"}};
  if (const std::string encoding = Utf16Name(text); !encoding.empty())
    return At(path, 1, "E0403", "the file is UTF-16, not UTF-8", path,
              absl::StrFormat("Save it as UTF-8 (iconv -f %s -t UTF-8 FILE)", encoding));
  for (const Kind& kind : kKinds) {
    if (absl::StartsWith(text, kind.begin)) return At(path, 1, "E0403", kind.what, path, kind.mend);
  }
  return absl::OkStatus();
}

// One JSON document, where rows were expected.
absl::Status CheckNoDocument(const std::string& text, const std::string& path, bool json_lines) {
  const absl::string_view begin = absl::StripLeadingAsciiWhitespace(text);
  const bool list = absl::StartsWith(begin, "[") &&
                    absl::StartsWith(absl::StripLeadingAsciiWhitespace(begin.substr(1)), "{");
  const bool object = !json_lines && absl::StartsWith(begin, "{");
  if (!list && !object) return absl::OkStatus();
  return At(path, 1, "E0410",
            list ? "the file is one JSON list, not one JSON object a line"
                 : "the file is JSON, and its name does not end in .jsonl",
            path,
            list ? "Write one object a line and no brackets around (jq -c '.[]' FILE > FILE.jsonl)"
                 : "Write one object a line and name the file FILE.jsonl");
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxDataBytes);
  if (!text.ok()) return DataFileError(text.status(), path);
  RUNG_RETURN_IF_ERROR(CheckKind(*text, path));
  if (absl::StartsWith(*text, "\xEF\xBB\xBF")) text->erase(0, 3);
  if (absl::StripAsciiWhitespace(*text).empty()) {
    return At(path, 1, "E0401", "the file is empty", path,
              "Give a file with a header line and at least one row");
  }
  return text;
}

absl::Status CheckUtf8(const std::string& text, const std::string& path) {
  int line = 1;
  size_t line_start = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t before = i;
    const std::optional<char32_t> character = NextCharacter(text, &i);
    if (!character) {
      const auto byte = static_cast<unsigned char>(text[before]);
      return At(path, line, "E0403",
                absl::StrFormat("the byte 0x%02X at column %d is not UTF-8", byte, before - line_start + 1),
                absl::StrFormat("0x%02X", byte),
                "Save the file as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8 FILE)");
    }
    if (*character == '\n') {
      ++line;
      line_start = i;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> ColumnIndex(const std::vector<std::string>& header, const std::string& name,
                                   const std::string& path, bool labelled) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) {
    const std::string close = ClosestName(name, header);
    const std::string mend =
        close.empty()
            ? absl::StrFormat("Name a column %s; if that line is a row already, write a header line above it",
                              labelled ? "in trainer.text or trainer.label" : "with --text COLUMN")
            : absl::StrFormat("Did you mean \"%s\"?", close);
    return At(
        path, 1, "E0402",
        absl::StrFormat("there is no column \"%s\"; the first line, which is taken as the header, has %s",
                        name, List(header)),
        name, mend);
  }
  if (std::find(found + 1, header.end(), name) != header.end()) {
    return At(path, 1, "E0411", absl::StrFormat("two columns are named \"%s\"", name), name,
              "Rename one of them");
  }
  return static_cast<size_t>(found - header.begin());
}

std::vector<std::string> WantedColumns(const DatasetColumns& columns) {
  std::vector<std::string> wanted = columns.text;
  wanted.insert(wanted.end(), columns.label.begin(), columns.label.end());
  return wanted;
}

absl::StatusOr<std::vector<RawRow>> ReadDelimited(const std::string& text, const std::string& path,
                                                  const DatasetColumns& columns) {
  RUNG_ASSIGN_OR_RETURN(DelimitedFile file, ParseDelimited(text, path, WantedColumns(columns)));
  std::vector<size_t> where;
  for (const std::string& name : WantedColumns(columns)) {
    RUNG_ASSIGN_OR_RETURN(const size_t index, ColumnIndex(file.header, name, path, !columns.label.empty()));
    where.push_back(index);
  }
  std::vector<RawRow> rows;
  rows.reserve(file.records.size());
  for (DelimitedRecord& record : file.records) {
    RawRow row;
    row.line = record.line;
    for (size_t i = columns.text.size(); i < where.size(); ++i)
      AddLabels(record.fields[where[i]], columns, &row);
    row.text = record.fields[where[0]];
    if (columns.text.size() == 2) row.pair = record.fields[where[1]];
    rows.push_back(std::move(row));
  }
  return rows;
}

// A label in JSON: a string, a number or a boolean.
std::string LabelText(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return "";
}

absl::StatusOr<RawRow> ReadJsonRow(const std::string& line_text, int line, const std::string& path,
                                   const DatasetColumns& columns) {
  const json object = ParseJson(line_text);
  if (object.is_discarded() || !object.is_object()) {
    return At(path, line, "E0410", "the line is not a JSON object", Shortened(line_text),
              "Write one JSON object a line, with the text and label columns as its keys");
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  for (const std::string& name : WantedColumns(columns)) {
    if (object.contains(name)) continue;
    return At(path, line, "E0402",
              absl::StrFormat("there is no key \"%s\"; the keys are %s", name, List(keys)), name,
              columns.label.empty()
                  ? "Give every line the same keys, or name another with --text COLUMN"
                  : "Give every line the same keys, or name others in trainer.text and trainer.label");
  }
  for (const std::string& name : columns.text) {
    if (object[name].is_string()) continue;
    return At(path, line, "E0410", absl::StrFormat("\"%s\" is not a string", name),
              Shortened(object[name].dump()), "Write the text as a JSON string");
  }
  RawRow row;
  row.line = line;
  for (const std::string& name : columns.label) {
    const json& value = object[name];
    if (!LabelsAreNames(columns) || !value.is_array()) {
      AddLabels(LabelText(value), columns, &row);
      continue;
    }
    for (const json& one : value) row.labels.emplace_back(absl::StripAsciiWhitespace(LabelText(one)));
  }
  row.text = object[columns.text[0]].get<std::string>();
  if (columns.text.size() == 2) row.pair = object[columns.text[1]].get<std::string>();
  return row;
}

absl::StatusOr<std::vector<RawRow>> ReadJsonLines(const std::string& text, const std::string& path,
                                                  const DatasetColumns& columns) {
  std::vector<RawRow> rows;
  int line = 1;
  for (size_t start = 0; start < text.size(); ++line) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) end = text.size();
    const std::string line_text = text.substr(start, end - start);
    start = end + 1;
    if (absl::StripAsciiWhitespace(line_text).empty()) continue;
    RUNG_ASSIGN_OR_RETURN(RawRow row, ReadJsonRow(line_text, line, path, columns));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<double> Number(const std::string& text) {
  if (text.empty() || absl::ascii_isspace(static_cast<unsigned char>(text[0]))) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<std::string> SortedLabels(const std::vector<RawRow>& rows) {
  std::set<std::string> names;
  for (const RawRow& row : rows) names.insert(row.labels.begin(), row.labels.end());
  std::vector<std::string> sorted(names.begin(), names.end());
  const bool numeric = std::all_of(sorted.begin(), sorted.end(),
                                   [](const std::string& name) { return Number(name).has_value(); });
  if (numeric) {
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const std::string& a, const std::string& b) { return *Number(a) < *Number(b); });
  }
  return sorted;
}

// What a column of its own says of a label: 1 or 0, in words too.
std::optional<float> Flag(const std::string& cell) {
  const std::string word = absl::AsciiStrToLower(cell);
  if (word == "true" || word == "false") return word == "true" ? 1.0F : 0.0F;
  const std::optional<double> number = Number(cell);
  if (!number || (*number != 0 && *number != 1)) return std::nullopt;
  return static_cast<float>(*number);
}

std::optional<float> Value(const std::string& cell) {
  const std::optional<double> number = Number(cell);
  if (!number || std::abs(*number) > kMaxTarget) return std::nullopt;
  return static_cast<float>(*number);
}

// Labels of rows as the task wants them.
class LabelIndex {
 public:
  LabelIndex(const DatasetColumns& columns, const std::vector<std::string>& labels, const std::string& path)
      : columns_(columns), labels_(labels), path_(path) {
    for (size_t i = 0; i < labels.size(); ++i) index_[labels[i]] = static_cast<int>(i);
  }

  absl::Status Fill(const RawRow& row, Example* example) const {
    if (columns_.task == Task::kSingleLabel) {
      RUNG_ASSIGN_OR_RETURN(example->label, Find(row.labels[0], row.line));
      return absl::OkStatus();
    }
    if (LabelsAreNames(columns_)) return FillNames(row, example);
    for (size_t i = 0; i < row.labels.size(); ++i) {
      const bool flag = columns_.task == Task::kMultiLabel;
      const std::optional<float> target = flag ? Flag(row.labels[i]) : Value(row.labels[i]);
      if (!target) {
        return At(path_, row.line, "E0414",
                  absl::StrFormat("the label (\"%s\") is \"%s\", %s", columns_.label[i], Short(row.labels[i]),
                                  flag ? "neither 0 nor 1" : "no number"),
                  Short(row.labels[i]),
                  flag ? "Write 1 where the row has the label and 0 where it has not" : "Write a number");
      }
      example->targets.push_back(*target);
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<int> Find(const std::string& name, int line) const {
    const auto found = index_.find(name);
    if (found != index_.end()) return found->second;
    return At(path_, line, "E0406",
              absl::StrFormat("the training data has no label \"%s\"; its labels are %s", Short(name),
                              List(labels_)),
              Short(name), "Correct the label, or add rows with it to the training data");
  }

  absl::Status FillNames(const RawRow& row, Example* example) const {
    example->targets.assign(labels_.size(), 0.0F);
    for (const std::string& name : row.labels) {
      RUNG_ASSIGN_OR_RETURN(const int label, Find(name, row.line));
      example->targets[static_cast<size_t>(label)] = 1;
    }
    return absl::OkStatus();
  }

  const DatasetColumns& columns_;
  const std::vector<std::string>& labels_;
  const std::string& path_;
  std::map<std::string, int> index_;
};

absl::Status CheckNotEmpty(const std::vector<RawRow>& rows, const DatasetColumns& columns,
                           const std::string& path) {
  for (const RawRow& row : rows) {
    for (size_t i = 0; i < row.labels.size(); ++i) {
      if (!row.labels[i].empty()) continue;
      const std::string& column = columns.label[std::min(i, columns.label.size() - 1)];
      return At(path, row.line, "E0408", absl::StrFormat("the label (\"%s\") is empty", column), "",
                "Give the row a label or remove it");
    }
  }
  return absl::OkStatus();
}

// Training data must tell rows apart.
absl::Status CheckDiffer(const std::vector<RawRow>& rows, const DatasetColumns& columns,
                         const std::string& path) {
  const std::vector<std::string>& first = rows.front().labels;
  if (std::any_of(rows.begin(), rows.end(), [&](const RawRow& row) { return row.labels != first; }))
    return absl::OkStatus();
  const bool single = columns.task == Task::kSingleLabel;
  const std::string value = absl::StrJoin(first, ",");
  return At(path, rows.front().line, "E0405",
            absl::StrFormat("all %d rows have the %s \"%s\"", rows.size(),
                            first.size() == 1 ? "label" : "labels", Short(value)),
            Short(value),
            single ? "Give training data with at least two labels, or name another label column"
                   : "Give training data whose rows differ, or name another label column");
}

absl::StatusOr<std::vector<RawRow>> ReadRows(const std::string& path, const DatasetColumns& columns) {
  RUNG_CHECK(columns.text.size() == 1 || columns.text.size() == 2, "one or two text columns");
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  RUNG_RETURN_IF_ERROR(CheckUtf8(text, path));
  const std::string extension = absl::AsciiStrToLower(std::filesystem::path(path).extension().string());
  const bool json_lines = extension == ".jsonl" || extension == ".ndjson";
  RUNG_RETURN_IF_ERROR(CheckNoDocument(text, path, json_lines));
  return json_lines ? ReadJsonLines(text, path, columns) : ReadDelimited(text, path, columns);
}

}  // namespace

absl::Status DataFileError(const absl::Status& read_error, const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0409", "this is a directory, not a data file", path, path, "Name the file in it"});
  }
  if (read_error.code() != absl::StatusCode::kNotFound) return read_error;
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0409", "there is no such data file", path, path,
                    "Check the path; paths are relative to the file they stand in"});
}

absl::StatusOr<std::vector<Example>> LoadTexts(const std::string& path,
                                               const std::vector<std::string>& columns) {
  RUNG_ASSIGN_OR_RETURN(std::vector<RawRow> rows, ReadRows(path, {columns, {}}));
  std::vector<Example> examples;
  examples.reserve(rows.size());
  for (RawRow& row : rows) examples.push_back({std::move(row.text), std::move(row.pair), 0, row.line});
  return examples;
}

absl::StatusOr<Dataset> LoadDataset(const std::string& path, const DatasetColumns& columns,
                                    const std::optional<std::vector<std::string>>& labels) {
  RUNG_ASSIGN_OR_RETURN(std::vector<RawRow> rows, ReadRows(path, columns));
  RUNG_RETURN_IF_ERROR(CheckNotEmpty(rows, columns, path));
  if (!labels) RUNG_RETURN_IF_ERROR(CheckDiffer(rows, columns, path));
  const bool named = columns.task == Task::kSingleLabel || LabelsAreNames(columns);
  Dataset dataset;
  dataset.path = path;
  dataset.labels = labels ? *labels : named ? SortedLabels(rows) : columns.label;
  const LabelIndex index(columns, dataset.labels, path);
  dataset.examples.reserve(rows.size());
  for (RawRow& row : rows) {
    Example example;
    RUNG_RETURN_IF_ERROR(index.Fill(row, &example));
    example.text = std::move(row.text);
    example.pair = std::move(row.pair);
    example.line = row.line;
    dataset.examples.push_back(std::move(example));
  }
  return dataset;
}

}  // namespace rung
