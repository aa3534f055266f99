#include "worker/text/data_findings.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"

namespace rung {
namespace {

using Warnings = std::vector<std::string>;
using Classes = std::vector<std::pair<std::string, int64_t>>;

TextOptions Options() {
  TextOptions options;
  options.train = "train.csv";
  options.test = "test.csv";
  options.label_columns = {"label"};
  return options;
}

// `rows` texts "PREFIX N" with two labels, every fourth of the second.
std::vector<Example> Rows(const std::string& prefix, int rows) {
  std::vector<Example> examples;
  for (int i = 0; i < rows; ++i)
    examples.push_back({absl::StrFormat("%s %d", prefix, i), "", i % 4 == 0 ? 1 : 0, i + 2});
  return examples;
}

StudyData Data() {
  return {{"ham", "spam"}, Rows("train", 40), Rows("validation", 8), Rows("test", 8)};
}

TEST_CASE("classes are counted in the rows that are trained on") {
  const TrainingClasses found = ClassesOf(Data(), Options());
  CHECK(found.path == "train.csv");
  CHECK(found.rows == 40);
  CHECK(found.classes == Classes{{"ham", 30}, {"spam", 10}});

  StudyData several = Data();
  several.train =
      std::vector<Example>{{"a", "", 0, 2, {1, 1}}, {"b", "", 0, 3, {0, 1}}, {"c", "", 0, 4, {0, 0}}};
  TextOptions options = Options();
  options.task = Task::kMultiLabel;
  CHECK(ClassesOf(several, options).classes == Classes{{"ham", 1}, {"spam", 2}});
  options.task = Task::kRegression;
  CHECK(ClassesOf(several, options).classes.empty());
}

TEST_CASE("data as it should be is not warned of") {
  CHECK(DataWarnings(Data(), Options()).empty());
  StudyData data = Data();
  data.train[0].text.clear();  // 1 of 40
  CHECK(DataWarnings(data, Options()).empty());
}

TEST_CASE("sets that hold the same rows are warned of") {
  StudyData data = Data();
  data.test = data.train;
  CHECK(
      DataWarnings(data, Options()) ==
      Warnings{
          "40 of 40 test texts stand in the training data of train.csv too: scores on them say nothing about "
          "texts that are new"});
  data = Data();
  data.validation[3] = data.train[0];
  CHECK(DataWarnings(data, Options()) ==
        Warnings{"1 of 8 validation texts stand in the training data of train.csv too"});
  data = Data();
  data.test = data.validation;
  CHECK(DataWarnings(data, Options()) == Warnings{"8 of 8 validation texts stand in the test data of "
                                                  "test.csv too: the test judges by what the search "
                                                  "has chosen by"});
  // The same text beside another one is another pair.
  data = Data();
  data.validation[3] = data.train[0];
  data.validation[3].pair = "other";
  CHECK(DataWarnings(data, Options()).empty());
}

TEST_CASE("many empty texts are warned of") {
  StudyData data = Data();
  for (const size_t row : {0U, 1U, 2U}) data.train[row].text = " \n";
  data.validation[0].text.clear();
  CHECK(DataWarnings(data, Options()) ==
        Warnings{"3 of 40 training texts are empty", "1 of 8 validation texts are empty"});
}

TEST_CASE("a label column with nearly as many labels as rows looks like the texts") {
  StudyData data = Data();
  data.labels.clear();
  for (int i = 0; i < 40; ++i) {
    data.labels.push_back(absl::StrFormat("a long text %d", i));
    data.train[static_cast<size_t>(i)].label = i;
  }
  const Warnings warnings = DataWarnings(data, Options());
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Catch::Contains("\"label\" has 40 different labels in 40 training rows") &&
                              Catch::Contains("swapped?"));
  CHECK_FALSE(LooksLikeTexts(10, 10));  // too few rows to say
  CHECK_FALSE(LooksLikeTexts(77, 10000));
}

}  // namespace
}  // namespace rung
