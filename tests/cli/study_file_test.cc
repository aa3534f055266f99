#include "cli/study_file.h"

#include <algorithm>
#include <filesystem>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

// A directory with study files, removed at the end.
class Place {
 public:
  const std::string& root() const { return scratch_.root(); }
  std::string Write(const std::string& name, const std::string& text) const {
    REQUIRE(WriteFileAtomic(root() + "/" + name, text).ok());
    return root() + "/" + name;
  }
  std::string Study(const nlohmann::json& changes) const {
    nlohmann::json study = {{"name", "s"},
                            {"trainer", {{"type", "command"}, {"argv", {"sh", "-c", "true"}}}},
                            {"objective", {{"metric", "accuracy"}, {"goal", "maximize"}}},
                            {"budget", {{"min", 1}, {"max", 3}}},
                            {"space", {{"x", {{"low", 0}, {"high", 1}}}}}};
    if (!changes.is_null()) study.merge_patch(changes);
    return Write("study.json", study.dump());
  }

 private:
  const Scratch scratch_;
};

std::string CodeOf(const std::string& path, bool read_data = true) {
  const absl::Status status = PrepareStudy(path, read_data).status();
  const auto detail = GetErrorDetail(status);
  return (detail.has_value() ? detail->code : "ok") + " " + std::to_string(ExitCode(status));
}

TEST_CASE("a command runs beside its study file unless it says where") {
  const Place place;
  CHECK(PrepareStudy(place.Study({}), true)->spec.trainer["cwd"] == place.root());
  CHECK(PrepareStudy(place.Study({{"trainer", {{"cwd", "/tmp"}}}}), true)->spec.trainer["cwd"] == "/tmp");
}

TEST_CASE("a command that cannot start is found before anything is stored, unless nobody looks") {
  const Place place;
  const std::string path = place.Study({{"trainer", {{"argv", {"python3", "train.py"}}}}});
  CHECK(CodeOf(path) == "E0721 6");
  CHECK(CodeOf(path, false) == "ok 0");
  place.Write("train.py", "");
  CHECK(CodeOf(path) == "ok 0");
}

TEST_CASE("what is given as a study and is none says what it is") {
  const Place place;
  CHECK(CodeOf(place.root()) == "E0382 3");
  CHECK(CodeOf(place.root() + "/none.json") == "E0382 3");
  CHECK(CodeOf(place.Write("space.json", R"({"x": {"low": 0, "high": 1}, "y": [1, 2]})")) == "E0390 6");
  const std::string deep = "{\"x\": " + std::string(100000, '[') + std::string(100000, ']') + "}";
  CHECK(CodeOf(place.Write("deep.json", deep)) == "E0303 6");
  CHECK(CodeOf(place.Write("other.json", R"({"nam": "x", "trainer": {}})")) == "E0305 6");
  CHECK(CodeOf(place.Study({{"space", "none.json"}})) == "E0310 6");
  const std::vector<std::pair<std::string, std::string>> encoded = {
      {std::string("\xFF\xFE{\0}\0", 6), "UTF-16"},
      {std::string("\xFE\xFF\0{\0}", 6), "UTF-16"},
      {std::string("{\0}\0", 4), "UTF-16LE"},
      {std::string("\0{\0}", 4), "UTF-16BE"}};
  for (const auto& [bytes, name] : encoded) {
    const std::string path = place.Write("utf16.json", bytes);
    CHECK(CodeOf(path) == "E0301 6");
    CHECK(GetErrorDetail(PrepareStudy(path, true).status())->mend ==
          "Save it as UTF-8 (iconv -f " + name + " -t UTF-8 FILE)");
  }
  CHECK_THAT(
      GetErrorDetail(PrepareStudy(place.Write("nul.json", std::string("{\0}", 3)), true).status())->mend,
      Catch::Contains("Remove it"));
  std::filesystem::remove(place.root() + "/utf16.json");
  std::filesystem::remove(place.root() + "/nul.json");
  CHECK(CodeOf(place.root()) == "E0105 2");
  const std::string mend = GetErrorDetail(PrepareStudy(place.root(), true).status())->mend;
  CHECK_THAT(mend, Catch::Contains("other.json or "));
}

TEST_CASE("what is wrong in a space of its own file is found there") {
  const Place place;
  place.Write(
      "space.json",
      "{\n  \"learning_rate\": {\"low\": 1e-5, \"high\": 1e-3},\n  \"model_name_or_path\": \"./none\"\n}\n");
  place.Write("train.csv", "sentence,label\na,x\nb,y\n");
  const std::string path = place.Study({{"trainer",
                                         {{"type", "text_classification"},
                                          {"argv", nullptr},
                                          {"train", "train.csv"},
                                          {"validation", "train.csv"}}},
                                        {"objective", {{"metric", "validation/accuracy"}}},
                                        {"space", "space.json"}});
  const auto detail = GetErrorDetail(PrepareStudy(path, true).status());
  REQUIRE(detail.has_value());
  CHECK(detail->code == "E0432");
  CHECK(detail->where == place.root() + "/space.json:3:3");
}

TEST_CASE("directions and targets that make no sense are warned of") {
  const Place place;
  const auto warnings = [&](const nlohmann::json& changes) {
    return PrepareStudy(place.Study(changes), true)->warnings;
  };
  CHECK(warnings({}).empty());
  CHECK(warnings({{"objective", {{"goal", "minimize"}}}}).size() == 1);
  CHECK(warnings({{"objective", {{"metric", "validation/f1_macro"}, {"goal", "minimize"}}}}).size() == 1);
  CHECK(warnings({{"objective", {{"metric", "validation/loss"}}}}).size() == 1);
  const auto trained = warnings({{"objective", {{"metric", "train/accuracy"}}}});
  REQUIRE(trained.size() == 1);
  CHECK_THAT(trained[0], Catch::Contains("measured on the rows that are trained on"));
  CHECK(warnings({{"objective", {{"metric", "train/loss"}, {"goal", "minimize"}}}}).size() == 1);
  CHECK(warnings({{"objective", {{"metric", "train/seconds"}, {"goal", "minimize"}}}}).empty());
  CHECK(warnings({{"stop", {{"target", 95}}}}).size() == 1);
  CHECK(warnings({{"stop", {{"target", 0.95}}}}).empty());
  CHECK(warnings({{"objective", {{"metric", "reward"}}}, {"stop", {{"target", 95}}}}).empty());
}

}  // namespace
}  // namespace rung
