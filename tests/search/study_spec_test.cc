#include "search/study_spec.h"

#include <stdlib.h>

#include <catch2/catch.hpp>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/status.h"
#include "search/json_position.h"
#include "tests/scratch.h"
#include "tests/search/study_fixture.h"

namespace rung {
namespace {

constexpr char kStudy[] = R"({ "name": "gnad10",
  "trainer": {"type": "text_classification",
              "train": "train.csv", "validation": 0.1, "test": "../test.csv", "text": "sentence"},
  "objective": {"metric": "validation/accuracy", "goal": "maximize"},
  "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
  "space": {"learning_rate": {"low": 2e-5, "high": 7e-5, "log": true},
            "model_name_or_path": ["models/a", "b"]},
  "stop": {"brackets": 10, "gpu_hours": 100, "wall_time": "10h"},
  "enqueue": [{"config": "default", "to": "max"}, {"config": {"learning_rate": 3e-5, "model_name_or_path": "b"}}],
  "seed": 42 }
)";

TEST_CASE("a study file is read with its defaults") {
  const StudySpec spec = *StudySpec::Parse(kStudy, "study.json", "/home/me/project");
  CHECK(spec.name == "gnad10");
  CHECK(spec.trainer["train"] == "/home/me/project/train.csv");
  CHECK(spec.trainer["test"] == "/home/me/test.csv");
  CHECK(spec.trainer["validation"] == 0.1);
  CHECK(spec.objective.seeds == std::vector<int64_t>{42});
  CHECK(spec.algorithm.type == AlgorithmType::kBohb);
  CHECK(spec.stop.wall_time == absl::Hours(10));
  CHECK(spec.RungBudgets() == std::vector<double>{1, 3, 9});
  CHECK(spec.Replicates() == 1);
  REQUIRE(spec.enqueue.size() == 2);
  CHECK(spec.enqueue[0].to_max);
  CHECK(spec.enqueue[0].config.at("model_name_or_path") == Value(std::string("models/a")));
}

TEST_CASE("canonical JSON is read back to itself") {
  const StudySpec spec = *StudySpec::Parse(kStudy, "study.json", "/home/me/project");
  const std::string canonical = spec.CanonicalJson();
  const StudySpec again = *StudySpec::Parse(canonical, "canonical", "/elsewhere");
  CHECK(again.CanonicalJson() == canonical);
  // Formatting and the order of keys are no content.
  CHECK(StudySpec::Parse(nlohmann::json::parse(kStudy).dump(3), "s", "/home/me/project")->CanonicalJson() ==
        canonical);
}

TEST_CASE("errors name code, line, column and mend") {
  struct Case {
    const char* from;
    const char* to;
    const char* code;
    const char* where;
    const char* word;
  };
  const Case cases[] = {
      {"\"seed\": 42 }", "\"sede\": 42 }", "E0305", "study.json:10:3", "Did you mean seed"},
      {"\"seed\": 42 }", "\"seed\": \"x\" }", "E0306", "study.json:10:11", "integer"},
      {"\"seed\": 42 }", "\"seed\": 42, \"seed\": 1 }", "E0302", "study.json:10:15", "twice"},
      {"\"seed\": 42 }", "\"seed\": 42 ", "E0301", "study.json:11:1", "JSON"},
      {"\"seed\": 42 }", "\"seed\": NaN }", "E0301", "study.json:10:11", "NaN is no finite number"},
      {"\"seed\": 42 }", "\"seed\": -Infinity }", "E0301", "study.json:10:11", "-Infinity"},
      {"\"max\": 9", "\"max\": 1e400", "E0301", "study.json:5:49", "1e400"},
      {"\"low\": 2e-5", "\"low\": 0", "E0211", "study.json:6:38",
       "space.learning_rate.low = 0 is not allowed"},
      {"\"low\": 2e-5", "\"low\": 1", "E0204", "study.json:6:38", "Swap"},
      {"\"min\": 1", "\"min\": 10", "E0307", "study.json:5:39", "above budget.max = 9"},
      {"\"min\": 1", "\"min\": 0", "E0307", "study.json:5:39", "above 0"},
      {"\"min\": 1", "\"min\": 1e-9", "E0307", "study.json:5:39", "rungs"},
      {"\"min\": 1, ", "", "E0308", "study.json:5:13", "budget.min is missing"},
      {"\"eta\": 3", "\"eta\": 1", "E0307", "study.json:5:59", "eta"},
      {"\"epochs\"", "\"epoch\"", "E0307", "study.json:5:22", "Did you mean epochs"},
      {"\"maximize\"", "\"maximise\"", "E0307", "study.json:4:58", "Did you mean maximize"},
      {", \"goal\": \"maximize\"", "", "E0308", "study.json:4:16", "goal"},
      {"\"validation/accuracy\", \"goal\": \"maximize\"", "\"validation/loss\"", "E0308", "study.json:4:16",
       "Add \"goal\": \"minimize\""},
      {"\"seed\"", "\"algorithm\": \"bohb\", \"seed\"", "E0306", "study.json:10:16",
       "Write {\"type\": \"bohb\"}"},
      {"\"seed\"", "\"algorithm\": {\"type\": \"asha\"}, \"seed\"", "E0307", "study.json:10:25",
       "\"scheduler\": \"asha\""},
      {"{\"config\": \"default\", \"to\": \"max\"}", "\"defaults\"", "E0306", "study.json:9:15",
       "Write \"default\", or {\"config\""},
      {"{\"config\": \"default\", \"to\": \"max\"}", "{\"learning_rate\": 3e-5}", "E0306", "study.json:9:15",
       "{\"config\": {name: value"},
      {"\"goal\": \"maximize\"", "\"goal\": \"maximize\", \"seeds\": []", "E0306", "study.json:4:79",
       "one integer or more"},
      {"[{\"config\": \"default\", \"to\": \"max\"}, {\"config\": {\"learning_rate\": 3e-5, "
       "\"model_name_or_path\": "
       "\"b\"}}]",
       "\"default\"", "E0306", "study.json:9:14", "[{\"config\": \"default\""},
      {"\"10h\"", "\"10 hours\"", "E0307", "study.json:8:59", "1h30m"},
      {"\"gnad10\"", "\"../x\"", "E0309", "study.json:1:11", "letters"},
      {"\"text_classification\"", "\"text_clasification\"", "E0307", "study.json:2:23", "Did you mean"},
      {"3e-5", "3e-4", "E0233", "study.json:9:80", "7e-05"},
      {"\"validation\": 0.1", "\"validation\": {\"folds\": 1}", "E0307", "study.json:3:61", "folds"},
      {"\"unit\"", "\"unti\"", "E0305", "study.json:5:14", "Did you mean unit"},
      {"{\"learning_rate\": {\"low\": 2e-5, \"high\": 7e-5, \"log\": true},\n            "
       "\"model_name_or_path\": [\"models/a\", \"b\"]}",
       "\"no/such.json\"", "E0310", "study.json:6:12", "no/such.json"},
  };
  for (const Case& c : cases) {
    const std::string text = absl::StrReplaceAll(kStudy, {{c.from, c.to}});
    REQUIRE(text != kStudy);
    INFO(c.to);
    const absl::Status status = StudySpec::Parse(text, "study.json", "/").status();
    REQUIRE_FALSE(status.ok());
    const ErrorDetail detail = *GetErrorDetail(status);
    INFO(detail.message << " | " << detail.mend);
    CHECK(detail.code == c.code);
    CHECK(detail.where == c.where);
    CHECK((detail.message + " " + detail.mend).find(c.word) != std::string::npos);
    CHECK(ExitCode(status) == (std::string(c.code) == "E0310" ? 3 : 6));
  }
}

TEST_CASE("the word default alone is an enqueued config") {
  const StudySpec spec = *StudySpec::Parse(
      absl::StrReplaceAll(kStudy, {{"{\"config\": \"default\", \"to\": \"max\"}", "\"default\""}}),
      "study.json", "/");
  REQUIRE(spec.enqueue.size() == 2);
  CHECK(spec.enqueue[0].config == spec.space.Default());
  CHECK_FALSE(spec.enqueue[0].to_max);
}

TEST_CASE("limits of a study file") {
  std::string deep = R"({"name": )";
  for (int i = 0; i < 40; ++i) deep += "[";
  CHECK(GetErrorDetail(StudySpec::Parse(deep, "f", "/").status())->code == "E0303");
  CHECK(GetErrorDetail(StudySpec::Parse(std::string(300000, ' '), "f", "/").status())->code == "E0304");
  CHECK(GetErrorDetail(StudySpec::Parse("{\"name\": \"\xff\"}", "f", "/").status())->code == "E0301");
  CHECK(GetErrorDetail(StudySpec::Parse("[]", "f", "/").status())->code == "E0306");
  CHECK(GetErrorDetail(StudySpec::Parse("", "f", "/").status())->code == "E0301");
  nlohmann::json wide = nlohmann::json::parse(kStudy);
  for (int i = 0; i < 513; ++i) wide["space"]["p" + std::to_string(i)] = 1;
  CHECK(GetErrorDetail(StudySpec::Parse(wide.dump(), "f", "/").status())->code == "E0208");
}

TEST_CASE("a byte order mark hides nothing from the checks of the text") {
  const auto error = [](const std::string& text) {
    return *GetErrorDetail(StudySpec::Parse("\xEF\xBB\xBF" + text, "f", "/").status());
  };
  CHECK(error(R"({"name": 1e400})").code == "E0301");
  CHECK(error(R"({"name": 1e400})").where == "f:1:10");
  CHECK(error(R"({"name": 1, "name": 2})").where == "f:1:13");
  CHECK(error(R"({"name": })").where == "f:1:10");
}

TEST_CASE("errors inside a space file name that file") {
  const Scratch scratch;
  const std::string& root = scratch.root();
  REQUIRE(WriteFileAtomic(root + "/space.json", "{ \"lr\":\n  {\"low\": 3, \"high\": 2} }").ok());
  nlohmann::json study = nlohmann::json::parse(kStudy);
  study["space"] = "space.json";
  study.erase("enqueue");
  absl::Status status = StudySpec::Parse(study.dump(), "dir/study.json", root).status();
  REQUIRE_FALSE(status.ok());
  CHECK(GetErrorDetail(status)->where == "dir/space.json:2:11");
  REQUIRE(WriteFileAtomic(root + "/space.json", R"({"lr": {"low": 1, "high": 2}})").ok());
  const StudySpec spec = *StudySpec::Parse(study.dump(), "dir/study.json", root);
  CHECK(spec.space.Find("lr") != nullptr);
}

TEST_CASE("random search needs an end and has one rung; brackets mean nothing to it") {
  const auto error = [](const std::string& changes) {
    return GetErrorDetail(StudySpec::Parse(StudyText(changes), "f", "/").status())->code;
  };
  CHECK(error(R"({"algorithm": {"type": "random"}})") == "E0312");
  CHECK(error(R"({"algorithm": {"type": "random"}, "stop": {"brackets": 3}})") == "E0307");
  CHECK(error(R"({"algorithm": {"type": "random", "plan": "ceil"}, "stop": {"trials": 3}})") == "E0305");
  CHECK(error(R"({"algorithm": {"type": "bohb", "min_points": 2}})") == "E0307");
  CHECK(error(R"({"algorithm": {"type": "grid", "levels": 1000}})") == "E0311");
  CHECK(error(R"({"algorithm": {"type": "grid", "levels": 2}, "space": {"x": {"low": 0, "high": 1},
                  "forbidden": ["x < 0.2", "x > 0.8"]}})") == "E0311");
  CHECK(Spec(StudyText(R"({"algorithm": {"type": "random"}, "stop": {"trials": 3}})")).RungBudgets() ==
        std::vector<double>{9});
}

TEST_CASE("places written with dots are found in the text") {
  const absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument, {"E0441", "bad", "trainer.validation", "0.1", "Mend"});
  CHECK(GetErrorDetail(Located(status, kStudy, "study.json"))->where == "study.json:3:37");
  const absl::Status elsewhere =
      MakeError(absl::StatusCode::kInvalidArgument, {"E0441", "bad", "train.csv:7", "", "Mend"});
  CHECK(GetErrorDetail(Located(elsewhere, kStudy, "study.json"))->where == "train.csv:7");
}

}  // namespace
}  // namespace rung
