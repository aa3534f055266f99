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
constexpr size_t kNamed = 12;      // an error lists at most so many labels or columns
constexpr size_t kNameBytes = 40;  // and so much of each: with another separator a row is one long name

absl::Status At(const std::string& path, int line, const std::string& code, const std::string& message,
                const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {code, message, absl::StrFormat("%s:%d", path, line), value, mend});
}

std::string Short(const std::string& name) {
  if (name.size() <= kNameBytes) return name;
  size_t end = kNameBytes;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  return name.substr(0, end) + "...";
}

std::string List(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) shown.push_back(Short(names[i]));
  if (shown.size() < names.size()) shown.push_back("...");
  return absl::StrJoin(shown, ", ");
}

// A row as it stands in its file; the label is still a name.
struct RawRow {
  std::string text, pair, label;
  int line = 0;
};

// What is no text in UTF-8, by the bytes it begins with.
absl::Status CheckKind(const std::string& text, const std::string& path) {
  struct Kind {
    absl::string_view begin;
    const char* what;
    const char* mend;
  };
  static constexpr Kind kKinds[] = {
      {"\xFF\xFE", "the file is UTF-16, not UTF-8", "Save it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE)"},
      {"\xFE\xFF", "the file is UTF-16, not UTF-8", "Save it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE)"},
      {"\x1F\x8B", "the file is compressed with gzip", "Unpack it (gunzip FILE) and name the unpacked file"},
      {"\xFD"
       "7zXZ",
       "the file is compressed with xz", "Unpack it (unxz FILE) and name the unpacked file"},
      {"\x28\xB5\x2F\xFD", "the file is compressed with zstd",
       "Unpack it (unzstd FILE) and name the unpacked file"},
      {"PK\x03\x04", "the file is a ZIP archive, or a spreadsheet", "Save it as CSV in UTF-8"},
      {"PAR1", "the file is Parquet", "Save it as CSV or JSONL in UTF-8"}};
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
                                   const std::string& path) {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) {
    const std::string close = ClosestName(name, header);
    const std::string mend = close.empty() ? "Name the column in trainer.text or trainer.label"
                                           : absl::StrFormat("Did you mean \"%s\"?", close);
    return At(path, 1, "E0402",
              absl::StrFormat("there is no column \"%s\"; the columns are %s", name, List(header)), name,
              mend);
  }
  if (std::find(found + 1, header.end(), name) != header.end()) {
    return At(path, 1, "E0411", absl::StrFormat("two columns are named \"%s\"", name), name,
              "Rename one of them");
  }
  return static_cast<size_t>(found - header.begin());
}

std::vector<std::string> WantedColumns(const DatasetColumns& columns) {
  std::vector<std::string> wanted = columns.text;
  if (!columns.label.empty()) wanted.push_back(columns.label);
  return wanted;
}

absl::StatusOr<std::vector<RawRow>> ReadDelimited(const std::string& text, const std::string& path,
                                                  const DatasetColumns& columns) {
  RUNG_ASSIGN_OR_RETURN(DelimitedFile file, ParseDelimited(text, path, WantedColumns(columns)));
  std::vector<size_t> where;
  for (const std::string& name : WantedColumns(columns)) {
    RUNG_ASSIGN_OR_RETURN(const size_t index, ColumnIndex(file.header, name, path));
    where.push_back(index);
  }
  std::vector<RawRow> rows;
  rows.reserve(file.records.size());
  for (DelimitedRecord& record : file.records) {
    RawRow row;
    row.line = record.line;
    if (!columns.label.empty())
      row.label = std::string(absl::StripAsciiWhitespace(record.fields[where.back()]));
    row.text = record.fields[where[0]];
    if (columns.text.size() == 2) row.pair = record.fields[where[1]];
    rows.push_back(std::move(row));
  }
  return rows;
}

// A label in JSON: a string, a number or a boolean.
std::string LabelText(const json& value) {
  if (value.is_string()) return std::string(absl::StripAsciiWhitespace(value.get_ref<const std::string&>()));
  if (value.is_number() || value.is_boolean()) return value.dump();
  return "";
}

absl::StatusOr<RawRow> ReadJsonRow(const std::string& line_text, int line, const std::string& path,
                                   const DatasetColumns& columns) {
  const json object = ParseJson(line_text);
  if (object.is_discarded() || !object.is_object()) {
    return At(path, line, "E0410", "the line is not a JSON object", line_text.substr(0, 60),
              "Write one JSON object a line, with the text and label columns as its keys");
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  for (const std::string& name : WantedColumns(columns)) {
    if (object.contains(name)) continue;
    return At(path, line, "E0402",
              absl::StrFormat("there is no key \"%s\"; the keys are %s", name, List(keys)), name,
              "Give every line the same keys, or name others in trainer.text and trainer.label");
  }
  for (const std::string& name : columns.text) {
    if (object[name].is_string()) continue;
    return At(path, line, "E0410", absl::StrFormat("\"%s\" is not a string", name),
              object[name].dump().substr(0, 60), "Write the text as a JSON string");
  }
  RawRow row;
  row.line = line;
  if (!columns.label.empty()) row.label = LabelText(object[columns.label]);
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
  for (const RawRow& row : rows) names.insert(row.label);
  std::vector<std::string> sorted(names.begin(), names.end());
  const bool numeric = std::all_of(sorted.begin(), sorted.end(),
                                   [](const std::string& name) { return Number(name).has_value(); });
  if (numeric) {
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const std::string& a, const std::string& b) { return *Number(a) < *Number(b); });
  }
  return sorted;
}

absl::StatusOr<std::vector<Example>> IndexLabels(std::vector<RawRow> rows,
                                                 const std::vector<std::string>& labels,
                                                 const std::string& path) {
  std::map<std::string, int> index;
  for (size_t i = 0; i < labels.size(); ++i) index[labels[i]] = static_cast<int>(i);
  std::vector<Example> examples;
  examples.reserve(rows.size());
  for (RawRow& row : rows) {
    const auto found = index.find(row.label);
    if (found == index.end()) {
      return At(path, row.line, "E0406",
                absl::StrFormat("the training data has no label \"%s\"; its labels are %s", row.label,
                                List(labels)),
                row.label, "Correct the label, or add rows with it to the training data");
    }
    examples.push_back({std::move(row.text), std::move(row.pair), found->second, row.line});
  }
  return examples;
}

// splitmix64's finaliser (Steele et al. 2014) over seed and position: the order of a class's rows.
uint64_t Mix(uint64_t seed, uint64_t position) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ULL + (position + 1) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// The rows of each class, shuffled by the seed.
std::vector<std::vector<int>> ShuffledClasses(const Dataset& dataset, int64_t split_seed) {
  std::vector<std::vector<int>> classes(dataset.labels.size());
  for (size_t i = 0; i < dataset.examples.size(); ++i) {
    classes[static_cast<size_t>(dataset.examples[i].label)].push_back(static_cast<int>(i));
  }
  const auto key = [&](int row) {
    return Mix(static_cast<uint64_t>(split_seed), static_cast<uint64_t>(row));
  };
  for (std::vector<int>& rows : classes) {
    std::sort(rows.begin(), rows.end(),
              [&](int a, int b) { return std::make_pair(key(a), a) < std::make_pair(key(b), b); });
  }
  return classes;
}

Split Sorted(Split split) {
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

// How many rows of each class are validated: proportional, the largest remainders first, at most all but one.
std::vector<size_t> ValidationCounts(const std::vector<std::vector<int>>& classes, double share,
                                     size_t total) {
  std::vector<size_t> counts(classes.size());
  std::vector<std::pair<double, size_t>> remainders;  // negative remainder, class: sorts largest first
  size_t given = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    const double exact = share * static_cast<double>(classes[c].size());
    const size_t most = classes[c].empty() ? 0 : classes[c].size() - 1;
    counts[c] = std::min(most, static_cast<size_t>(exact));
    given += counts[c];
    remainders.emplace_back(static_cast<double>(counts[c]) - exact, c);
  }
  std::sort(remainders.begin(), remainders.end());
  const size_t wanted =
      std::max<size_t>(1, static_cast<size_t>(std::floor(share * static_cast<double>(total) + 0.5)));
  for (const auto& [remainder, c] : remainders) {
    if (given >= wanted) break;
    if (counts[c] + 1 < classes[c].size()) {
      ++counts[c];
      ++given;
    }
  }
  return counts;
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
  RUNG_ASSIGN_OR_RETURN(std::vector<RawRow> rows, ReadRows(path, {columns, ""}));
  std::vector<Example> examples;
  examples.reserve(rows.size());
  for (RawRow& row : rows) examples.push_back({std::move(row.text), std::move(row.pair), 0, row.line});
  return examples;
}

absl::StatusOr<Dataset> LoadDataset(const std::string& path, const DatasetColumns& columns,
                                    const std::optional<std::vector<std::string>>& labels) {
  RUNG_ASSIGN_OR_RETURN(std::vector<RawRow> rows, ReadRows(path, columns));
  for (const RawRow& row : rows) {
    if (!row.label.empty()) continue;
    return At(path, row.line, "E0408", absl::StrFormat("the label (\"%s\") is empty", columns.label), "",
              "Give the row a label or remove it");
  }
  Dataset dataset;
  dataset.path = path;
  dataset.labels = labels ? *labels : SortedLabels(rows);
  if (!labels && dataset.labels.size() < 2) {
    return At(path, rows.front().line, "E0405",
              absl::StrFormat("all %d rows have the label \"%s\"", rows.size(), dataset.labels.front()),
              dataset.labels.front(),
              "Give training data with at least two labels, or name another label column");
  }
  RUNG_ASSIGN_OR_RETURN(dataset.examples, IndexLabels(std::move(rows), dataset.labels, path));
  return dataset;
}

Split SplitShare(const Dataset& dataset, double share, int64_t split_seed) {
  RUNG_CHECK(share > 0 && share < 1, "the option table keeps the share in (0, 1)");
  const std::vector<std::vector<int>> classes = ShuffledClasses(dataset, split_seed);
  const std::vector<size_t> counts = ValidationCounts(classes, share, dataset.examples.size());
  Split split;
  for (size_t c = 0; c < classes.size(); ++c) {
    for (size_t i = 0; i < classes[c].size(); ++i) {
      (i < counts[c] ? split.validation : split.train).push_back(classes[c][i]);
    }
  }
  return Sorted(std::move(split));
}

Split SplitFold(const Dataset& dataset, int fold, int folds, int64_t split_seed) {
  RUNG_CHECK(folds >= 2 && fold >= 0 && fold < folds, "a fold of at least two");
  Split split;
  size_t next = 0;  // runs on from class to class, so that the folds' sizes differ by at most one
  for (const std::vector<int>& rows : ShuffledClasses(dataset, split_seed)) {
    for (const int row : rows) {
      const bool mine = next++ % static_cast<size_t>(folds) == static_cast<size_t>(fold);
      (mine ? split.validation : split.train).push_back(row);
    }
  }
  return Sorted(std::move(split));
}

}  // namespace rung
