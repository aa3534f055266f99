#include "worker/text/dataset.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/worker/text/text_files.h"

namespace rung {
namespace {

const DatasetColumns kColumns{{"sentence"}, {"label"}};

absl::StatusOr<Dataset> Load(const std::string& name, const std::string& bytes,
                             const DatasetColumns& columns = kColumns,
                             const std::optional<std::vector<std::string>>& labels = std::nullopt) {
  const TemporaryDirectory directory;
  return LoadDataset(directory.Write(name, bytes), columns, labels);
}

// One line a row: label|text, so that a failure shows what was read.
std::string Shown(const absl::StatusOr<Dataset>& dataset) {
  if (!dataset.ok()) return dataset.status().ToString();
  std::string out;
  for (const Example& e : dataset->examples) {
    out += dataset->labels[static_cast<size_t>(e.label)] + "|" + e.text +
           (e.pair.empty() ? "" : "|" + e.pair) + "\n";
  }
  return out;
}

Dataset Rows(const std::vector<int>& labels, int classes) {
  Dataset dataset;
  for (int c = 0; c < classes; ++c) dataset.labels.push_back(absl::StrFormat("%d", c));
  for (const int label : labels) dataset.examples.push_back({"text", "", label, 0});
  return dataset;
}

TEST_CASE("every separator, quote and newline reads the same rows") {
  const std::string expected = "ham|hello world\nspam|free money\n";
  for (const char* bytes : {"sentence,label\nhello world,ham\nfree money,spam\n",
                            "label;sentence\nham;hello world\nspam;free money",
                            "id\tlabel\tsentence\r\n1\tham\thello world\r\n2\tspam\tfree money\r\n",
                            "sentence,label\rhello world,ham\rfree money,spam",
                            "\xEF\xBB\xBFsentence,label\nhello world,ham\n\n  \nfree money,spam\n",
                            "\"sentence\",\"label\"\n\"hello world\",\"ham\"\n\"free money\",spam\n",
                            " sentence , label \nhello world, ham\nfree money,spam \n",
                            "label;sentence\nham;'hello world'\nspam;'free money'\n"}) {
    INFO(bytes);
    CHECK(Shown(Load("a.csv", bytes)) == expected);
  }
  CHECK(Shown(Load("a.jsonl",
                   "{\"sentence\": \"hello world\", \"label\": \"ham\"}\n\n{\"label\": \"spam\", "
                   "\"sentence\": \"free money\"}")) == expected);
}

TEST_CASE("a file of another kind is named") {
  const auto message = [](const char* name, const std::string& bytes) {
    const auto detail = GetErrorDetail(Load(name, bytes).status());
    return detail.has_value() ? detail->code + " " + detail->message : "";
  };
  CHECK(message("a.csv", std::string("\xFF\xFEs\0e\0", 6)) == "E0403 the file is UTF-16, not UTF-8");
  CHECK(message("a.csv", std::string("s\0e\0", 4)) == "E0403 the file is UTF-16, not UTF-8");
  CHECK(message("a.csv", "\x1F\x8B\x08 and more") == "E0403 the file is compressed with gzip");
  CHECK(message("a.csv", "PK\x03\x04 and more") == "E0403 the file is a ZIP archive, or a spreadsheet");
  const std::string list = "[\n {\"sentence\": \"x\", \"label\": \"a\"}]";
  CHECK(message("a.json", list) == "E0410 the file is one JSON list, not one JSON object a line");
  CHECK(message("a.jsonl", list) == "E0410 the file is one JSON list, not one JSON object a line");
  CHECK(message("a.json", "{\"sentence\": \"x\", \"label\": \"a\"}\n") ==
        "E0410 the file is JSON, and its name does not end in .jsonl");
  CHECK(Load("a.csv", "[1] sentence,sentence,label\nx,y,a\nx,z,b\n").ok());
}

TEST_CASE("separators, quotes and newlines inside quotes belong to the text") {
  const auto dataset =
      Load("a.csv", "sentence,label\n\"one, \"\"two\"\"\nthree\r\nfour\",a\nplain \"x\" here,b\n");
  CHECK(Shown(dataset) == "a|one, \"two\"\nthree\r\nfour\nb|plain \"x\" here\n");
  REQUIRE(dataset.ok());
  CHECK(dataset->examples[0].line == 2);
  CHECK(dataset->examples[1].line == 5);
}

TEST_CASE("an apostrophe at the start of a text is no quote") {
  CHECK(Shown(Load("a.csv", "sentence,label\n'tis the season,a\n'hello',b\nplain,a\n")) ==
        "a|'tis the season\nb|'hello'\na|plain\n");
  // Most texts quoted with ', one of them with a doubled quote and a newline: the whole file agrees.
  CHECK(Shown(Load("a.csv", "label;sentence\na;'it''s; so\nlong'\nb;'say \"x\"'\n")) ==
        "a|it's; so\nlong\nb|say \"x\"\n");
}

TEST_CASE("a tab-separated file without quoting keeps its stray quotes") {
  CHECK(Shown(Load("a.tsv", "sentence\tlabel\n\"unbalanced text\t0\nand \"so\" on\t1\n")) ==
        "0|\"unbalanced text\n1|and \"so\" on\n");
}

TEST_CASE("labels are sorted, numbers by value") {
  CHECK(Load("a.csv", "sentence,label\na,10\nb,9\nc,-1\n")->labels ==
        std::vector<std::string>{"-1", "9", "10"});
  CHECK(Load("a.csv", "sentence,label\na,10\nb,9\nc,x\n")->labels ==
        std::vector<std::string>{"10", "9", "x"});
  CHECK(Load("a.jsonl",
             "{\"sentence\":\"\",\"label\":2}\n{\"sentence\":\"b\",\"label\":10}\n{\"sentence\":\"b\","
             "\"label\":true}\n")
            ->labels == std::vector<std::string>{"10", "2", "true"});
}

TEST_CASE("pairs take two columns") {
  CHECK(Shown(Load("a.csv", "q,p,label\nwho,me,1\nwhat,this,0\n", {{"q", "p"}, {"label"}})) ==
        "1|who|me\n0|what|this\n");
  CHECK(Shown(Load("a.jsonl",
                   "{\"q\":\"who\",\"p\":\"me\",\"label\":1}\n{\"q\":\"x\",\"p\":\"y\",\"label\":0}\n",
                   {{"q", "p"}, {"label"}})) == "1|who|me\n0|x|y\n");
}

TEST_CASE("given labels are the only ones") {
  const std::vector<std::string> labels = {"b", "a"};
  const auto dataset = Load("a.csv", "sentence,label\nx,a\n", kColumns, labels);
  REQUIRE(dataset.ok());
  CHECK(dataset->labels == labels);
  CHECK(dataset->examples[0].label == 1);
}

TEST_CASE("every data error names its code, file and line") {
  struct Case {
    const char* name;
    std::string bytes;
    const char* code;
    int line;
  };
  const std::string good = "sentence,label\nx,a\ny,b\n";
  for (const Case& c : std::vector<Case>{
           {"a.csv", "", "E0401", 1},
           {"a.csv", "\xEF\xBB\xBF \n\n", "E0401", 1},
           {"a.csv", "sentence,label\n", "E0401", 1},
           {"a.jsonl", "\n", "E0401", 1},
           {"a.csv", "text,label\nx,a\ny,b\n", "E0402", 1},
           {"a.csv", "sentence;class\nx;a\ny;b\n", "E0402", 1},
           {"a.jsonl", "{\"sentence\":\"x\",\"label\":1}\n{\"sentence\":\"x\"}\n", "E0402", 2},
           {"a.csv", good + "caf\xE9,a\n", "E0403", 4},
           {"a.csv", "\xFF\xFEs\0e\0", "E0403", 1},
           {"a.csv", good + "\xED\xA0\x80,a\n", "E0403", 4},
           {"a.csv", good + "\xC0\x80,a\n", "E0403", 4},
           {"a.csv", good + "\xF5\x80\x80\x80,a\n", "E0403", 4},
           {"a.csv", good + "\xE2\x82", "E0403", 4},
           {"a.csv", good + "one, two,a\n", "E0404", 4},
           {"a.csv", "sentence,label\n\"a\nb\",a\nshort\n", "E0404", 4},
           {"a.csv", "sentence,label\nx,a\ny,a\n", "E0405", 2},
           {"a.csv", "sentence,label\nx,a\n", "E0405", 2},
           {"a.jsonl", "{\"sentence\":\"x\",\"label\":1}\n", "E0405", 1},
           {"a.csv", good + "\"never closed,a\nmore,b\n", "E0407", 4},
           {"a.csv", good + "\"never closed," + std::string(17 << 20, 'x'), "E0404", 4},
           {"a.csv", good + std::string(17 << 20, 'x') + ",a\n", "E0404", 4},
           {"a.csv", good + "\"closed\" early,a\n", "E0407", 4},
           {"a.csv", good + "z, \n", "E0408", 4},
           {"a.jsonl", "{\"sentence\":\"x\",\"label\":\"a\"}\n{\"sentence\":\"x\",\"label\":null}\n", "E0408",
            2},
           {"a.jsonl", "{\"sentence\":\"x\",\"label\":\"a\"}\n[1]\n", "E0410", 2},
           {"a.jsonl", "{\"sentence\":\"x\",\"label\":\"a\"}\n{\"sentence\":\n", "E0410", 2},
           {"a.jsonl", "{\"sentence\":7,\"label\":\"a\"}\n", "E0410", 1},
           {"a.csv", "sentence,label,sentence\nx,a,y\n", "E0411", 1}}) {
    const TemporaryDirectory directory;
    const std::string path = directory.Write(c.name, c.bytes);
    const absl::Status status = LoadDataset(path, kColumns, std::nullopt).status();
    INFO(c.bytes << " gives " << status);
    CHECK(CodeOf(status) == c.code);
    CHECK(WhereOf(status) == absl::StrFormat("%s:%d", path, c.line));
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(GetErrorDetail(status)->mend.empty());
  }
}

TEST_CASE("a label that training lacks and a missing file are named") {
  const absl::Status unknown =
      Load("a.csv", "sentence,label\nx,a\ny,c\n", kColumns, std::vector<std::string>{"a", "b"}).status();
  CHECK(CodeOf(unknown) == "E0406");
  CHECK_THAT(std::string(unknown.message()),
             Catch::Contains("\"c\"") && Catch::Contains("a, b") && Catch::Contains("a.csv:3"));
  const absl::Status missing = LoadDataset("/nowhere/train.csv", kColumns, std::nullopt).status();
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK(CodeOf(missing) == "E0409");
  CHECK_THAT(std::string(Load("a.csv", "sentense,label\nx,a\n").status().message()),
             Catch::Contains("Did you mean \"sentense\""));
}

TEST_CASE("of texts to be labelled a missing column is named as the command line names it") {
  const TemporaryDirectory directory;
  for (const auto& [name, bytes] : {std::pair{"a.csv", "message,label\nx,a\n"},
                                    std::pair{"a.jsonl", "{\"message\": \"x\", \"label\": \"a\"}\n"}}) {
    INFO(name);
    const std::string path = directory.Write(name, bytes);
    const absl::Status texts = LoadTexts(path, {"sentence"}).status();
    CHECK(CodeOf(texts) == "E0402");
    CHECK_THAT(GetErrorDetail(texts)->mend,
               Catch::Contains("--text COLUMN") && !Catch::Contains("trainer.text"));
    CHECK_THAT(GetErrorDetail(LoadDataset(path, kColumns, std::nullopt).status())->mend,
               Catch::Contains("trainer.text") && !Catch::Contains("--text"));
  }
}

TEST_CASE("a file without a header is told so") {
  const std::string row(100, 'x');
  for (const char* name : {"a.csv", "a.tsv"}) {
    const std::string separator = name == std::string("a.csv") ? "," : "\t";
    const absl::Status status = Load(name, row + separator + "pos\nbad film" + separator + "neg\n").status();
    CHECK(CodeOf(status) == "E0402");
    const ErrorDetail detail = *GetErrorDetail(status);
    CHECK_THAT(detail.message, Catch::Contains("the first line, which is taken as the header, has") &&
                                   Catch::EndsWith(row.substr(0, 40) + "..., pos"));
    CHECK_THAT(detail.mend, Catch::Contains("header line"));
  }
}

TEST_CASE("2 to 33 rows are all read, with and without a last newline") {
  for (int rows = 2; rows <= 33; ++rows) {
    std::string bytes = "sentence,label";
    for (int i = 0; i < rows; ++i) bytes += absl::StrFormat("\ntext %d,%d", i, i % 2);
    for (const char* end : {"", "\n"}) {
      const auto dataset = Load("a.csv", bytes + end);
      REQUIRE(dataset.ok());
      REQUIRE(dataset->examples.size() == static_cast<size_t>(rows));
      CHECK(dataset->examples.front().text == "text 0");
      CHECK(dataset->examples.back().text == absl::StrFormat("text %d", rows - 1));
    }
  }
}

// One line a row: its targets, then the text.
std::string ShownTargets(const absl::StatusOr<Dataset>& dataset) {
  if (!dataset.ok()) return dataset.status().ToString();
  std::string out = absl::StrJoin(dataset->labels, " ") + "\n";
  for (const Example& e : dataset->examples) out += absl::StrJoin(e.targets, " ") + "|" + e.text + "\n";
  return out;
}

const DatasetColumns kFlags{{"sentence"}, {"joy", "anger"}, Task::kMultiLabel};
const DatasetColumns kNames{{"sentence"}, {"label"}, Task::kMultiLabel, ";"};
const DatasetColumns kNumber{{"sentence"}, {"label"}, Task::kRegression};

TEST_CASE("several labels a row stand in a column each, or as names in one") {
  CHECK(ShownTargets(Load("a.csv", "anger,sentence,joy\n1,x,0\n0,y,0\nTrue,z,1.0\n", kFlags)) ==
        "joy anger\n0 1|x\n0 0|y\n1 1|z\n");
  CHECK(ShownTargets(Load("a.jsonl",
                          "{\"sentence\":\"x\",\"joy\":true,\"anger\":0}\n"
                          "{\"sentence\":\"y\",\"joy\":false,\"anger\":1.0}\n",
                          kFlags)) == "joy anger\n1 0|x\n0 1|y\n");
  const std::string expected = "anger fear joy\n1 0 1|x\n0 0 0|y\n0 1 0|z\n";
  CHECK(ShownTargets(Load("a.csv", "sentence,label\nx,joy; anger\ny,\nz,fear;\n", kNames)) == expected);
  CHECK(ShownTargets(Load("a.jsonl",
                          "{\"sentence\":\"x\",\"label\":[\"joy\",\"anger\"]}\n"
                          "{\"sentence\":\"y\",\"label\":[]}\n{\"sentence\":\"z\",\"label\":\"fear\"}\n",
                          kNames)) == expected);
  const std::vector<std::string> labels = {"fear", "joy"};
  CHECK(ShownTargets(Load("a.csv", "sentence,label\nx,joy\n", kNames, labels)) == "fear joy\n0 1|x\n");
}

TEST_CASE("a regression's label is a number") {
  CHECK(ShownTargets(Load("a.csv", "sentence,label\nx,1.5\ny,-2e1\n", kNumber)) == "label\n1.5|x\n-20|y\n");
  CHECK(ShownTargets(Load("a.jsonl",
                          "{\"sentence\":\"x\",\"label\":3}\n{\"sentence\":\"y\",\"label\":\"0.25\"}\n",
                          kNumber)) == "label\n3|x\n0.25|y\n");
}

TEST_CASE("errors of labels that are no names say file and line") {
  struct Case {
    DatasetColumns columns;
    const char* bytes;
    const char* code;
    int line;
  };
  for (const Case& c : std::vector<Case>{{kFlags, "sentence,joy,anger\nx,1,0\ny,1,2\n", "E0414", 3},
                                         {kFlags, "sentence,joy,anger\nx,1,0\ny,1,yes\n", "E0414", 3},
                                         {kFlags, "sentence,joy,anger\nx,1,0\ny,,1\n", "E0408", 3},
                                         {kFlags, "sentence,joy\nx,1\ny,0\n", "E0402", 1},
                                         {kFlags, "sentence,joy,anger\nx,1,0\ny,1,0\n", "E0405", 2},
                                         {kNames, "sentence,label\nx,joy\ny,joy\n", "E0405", 2},
                                         {kNumber, "sentence,label\nx,1\n\"a\nb\",high\n", "E0414", 3},
                                         {kNumber, "sentence,label\nx,1\ny,nan\n", "E0414", 3},
                                         {kNumber, "sentence,label\nx,1\ny,1e300\n", "E0414", 3},
                                         {kNumber, "sentence,label\nx,1\ny, \n", "E0408", 3},
                                         {kNumber, "sentence,label\nx,1\ny,1\n", "E0405", 2}}) {
    const TemporaryDirectory directory;
    const std::string path = directory.Write("a.csv", c.bytes);
    const absl::Status status = LoadDataset(path, c.columns, std::nullopt).status();
    INFO(c.bytes << " gives " << status);
    CHECK(CodeOf(status) == c.code);
    CHECK(WhereOf(status) == absl::StrFormat("%s:%d", path, c.line));
    CHECK_FALSE(GetErrorDetail(status)->mend.empty());
  }
  const absl::Status object =
      Load("a.jsonl", "{\"sentence\":\"x\",\"label\":[\"joy\"]}\n{\"sentence\":\"y\",\"label\":[{}]}\n",
           kNames)
          .status();
  CHECK(CodeOf(object) == "E0408");
  CHECK_THAT(WhereOf(object), Catch::EndsWith("a.jsonl:2"));
  const auto unknown =
      Load("a.csv", "sentence,label\nx,joy\ny,joy;hate\n", kNames, std::vector<std::string>{"joy"}).status();
  CHECK(CodeOf(unknown) == "E0406");
  CHECK_THAT(WhereOf(unknown), Catch::EndsWith("a.csv:3"));
}

TEST_CASE("rows without a class are split at random, whole and seeded") {
  Dataset dataset;
  dataset.labels = {"joy", "anger"};
  for (int i = 0; i < 40; ++i) dataset.examples.push_back({"text", "", 0, i, {static_cast<float>(i % 2), 0}});
  const Split split = SplitShare(dataset, 0.25, 3);
  CHECK(split.validation.size() == 10);
  CHECK(split.train.size() == 30);
  CHECK(SplitShare(dataset, 0.25, 3).validation == split.validation);
  CHECK(SplitShare(dataset, 0.25, 4).validation != split.validation);
}

// Every row once, in one of the two parts, ascending.
void CheckDisjointAndWhole(const Split& split, size_t rows) {
  CHECK(std::is_sorted(split.train.begin(), split.train.end()));
  CHECK(std::is_sorted(split.validation.begin(), split.validation.end()));
  std::set<int> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  CHECK(all.size() == rows);
  CHECK(split.train.size() + split.validation.size() == rows);
}

int CountOf(const Dataset& dataset, const std::vector<int>& rows, int label) {
  return static_cast<int>(std::count_if(rows.begin(), rows.end(), [&](int row) {
    return dataset.examples[static_cast<size_t>(row)].label == label;
  }));
}

TEST_CASE("a share is stratified, disjoint, whole, seeded, and leaves every class in train") {
  for (int rows = 2; rows <= 33; ++rows) {
    std::vector<int> labels;
    for (int i = 0; i < rows; ++i) labels.push_back(i % 7 == 3 ? 1 : 0);
    labels.back() = 1;
    const Dataset dataset = Rows(labels, 2);
    for (const double share : {0.1, 0.25, 0.5, 0.9}) {
      const Split split = SplitShare(dataset, share, 42);
      CheckDisjointAndWhole(split, labels.size());
      CHECK(CountOf(dataset, split.train, 0) >= 1);
      CHECK(CountOf(dataset, split.train, 1) >= 1);
      CHECK((rows == 2 ? split.validation.empty() : !split.validation.empty()));
    }
  }
  std::vector<int> labels(1000);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = i < 700 ? 0 : i < 950 ? 1 : 2;
  const Dataset dataset = Rows(labels, 3);
  const Split split = SplitShare(dataset, 0.1, 42);
  CHECK(CountOf(dataset, split.validation, 0) == 70);
  CHECK(CountOf(dataset, split.validation, 1) == 25);
  CHECK(CountOf(dataset, split.validation, 2) == 5);
  CHECK(SplitShare(dataset, 0.1, 42).validation == split.validation);
  CHECK(SplitShare(dataset, 0.1, 43).validation != split.validation);
  // Not the first rows of a class: the seed shuffles.
  CHECK(*std::max_element(split.validation.begin(), split.validation.begin() + 70) > 600);
}

TEST_CASE("folds are stratified and their validation sets cover every row once") {
  std::vector<int> labels;
  for (int i = 0; i < 103; ++i) labels.push_back(i % 3 == 0 ? 1 : 0);
  const Dataset dataset = Rows(labels, 2);
  for (const int folds : {2, 3, 5, 10}) {
    std::vector<int> seen(labels.size(), 0);
    for (int fold = 0; fold < folds; ++fold) {
      const Split split = SplitFold(dataset, fold, folds, 7);
      CheckDisjointAndWhole(split, labels.size());
      for (const int row : split.validation) ++seen[static_cast<size_t>(row)];
      CHECK(std::abs(CountOf(dataset, split.validation, 1) - 35 / folds) <= 1);
      CHECK(std::abs(static_cast<int>(split.validation.size()) - 103 / folds) <= 1);
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
  }
  CHECK(SplitFold(dataset, 0, 5, 7).validation != SplitFold(dataset, 0, 5, 8).validation);
}

}  // namespace
}  // namespace rung
