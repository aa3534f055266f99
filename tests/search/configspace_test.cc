#include "search/configspace.h"

#include <catch2/catch.hpp>

#include "base/status.h"

namespace rung {
namespace {

Space Parsed(const std::string& text) {
  absl::StatusOr<Space> space = Space::Parse(nlohmann::json::parse(text));
  INFO(space.status().message());
  REQUIRE(space.ok());
  return *std::move(space);
}

TEST_CASE("a space of an old ConfigSpace is read: default, q, probabilities, lambda") {
  const Space space = Parsed(R"({
    "hyperparameters": [
      {"name": "lr", "type": "uniform_float", "log": true, "lower": 0.001, "upper": 1.0, "default": 0.1},
      {"name": "n", "type": "uniform_int", "log": false, "lower": 0, "upper": 10, "default": 4, "q": 2},
      {"name": "m", "type": "uniform_int", "log": false, "lower": 0, "upper": 10, "default": 6},
      {"name": "k", "type": "categorical", "choices": ["a", "b"], "default": "b", "probabilities": [0.25, 0.75]},
      {"name": "w", "type": "normal_float", "log": false, "mu": 1, "sigma": 2, "lower": -9, "upper": 9, "default": 1}],
    "conditions": [{"child": "lr", "parent": "k", "type": "NEQ", "value": "a"}],
    "forbiddens": [{"left": "n", "right": "m", "type": "RELATION", "lambda": "GT"},
                   {"type": "AND", "clauses": [{"name": "k", "type": "IN", "values": ["a", "b"]},
                                               {"name": "m", "type": "EQUALS", "value": 3}]}],
    "python_module_version": "0.4.18", "json_format_version": 0.2})");
  CHECK(space.Find("lr")->log);
  CHECK(space.Find("lr")->condition->text() == "k != a");
  CHECK(*space.Find("n")->step == 2);
  CHECK(space.Find("k")->weights == std::vector<double>{.25, .75});
  CHECK(space.Default().at("k") == Value(std::string("b")));
  CHECK(space.Find("w")->normal_prior == std::pair<double, double>{1, 2});
  REQUIRE(space.forbidden().size() == 2);
  CHECK(space.forbidden()[0].text() == "n > m");
  CHECK(space.forbidden()[1].text() == "(k in (a, b)) and (m = 3)");
}

TEST_CASE("every comparison finds its words in ConfigSpace") {
  const Space space =
      Parsed(R"({"i": {"int": [0, 9], "default": 2}, "f": {"low": 0, "high": 1}, "c": ["a", "b", "d"],
      "s": {"low": 0, "high": 1, "step": 0.25, "default": 0.25}, "j": {"int": [0, 9], "default": 7},
      "w": {"value": 1, "if": "not (i <= 2.5 or c in (a, b)) and s > 0.3"},
      "x": {"value": 1, "if": "i != 4 and f >= 0.5 and c is active"},
      "forbidden": ["not i < j", "f != 0.5 and c != a and s = 1", "i != j and f > 0.9 and c = d"]})");
  const absl::StatusOr<nlohmann::json> json = ToConfigSpace(space);
  REQUIRE(json.ok());
  const Space back = Parsed(json->dump());
  // The same configs are legal, though the words differ.
  Rng rng(3, 3);
  for (int i = 0; i < 300; ++i) {
    const Config config = space.Sample(rng);
    INFO(CanonicalJson(config));
    CHECK(back.Validate(config).ok());
    const Config other = back.Sample(rng);
    INFO(CanonicalJson(other));
    CHECK(space.Validate(other).ok());
  }
  CHECK((*json)["forbiddens"][0] == nlohmann::json({{"type", "RELATION_GE"}, {"left", "i"}, {"right", "j"}}));
}

TEST_CASE("what ConfigSpace cannot say is refused with the place") {
  const auto code = [](const char* text) {
    const absl::Status status = ToConfigSpace(Parsed(text)).status();
    REQUIRE_FALSE(status.ok());
    return GetErrorDetail(status)->code + " " + GetErrorDetail(status)->where;
  };
  CHECK(code(R"({"a": {"int": [1, 3]}, "b": {"int": [1, 3]}, "c": {"value": 1, "if": "a < b"}})") ==
        "E0227 #/c/if");
  CHECK(code(R"({"a": {"low": 1, "high": 3, "prior": {"lognormal": [0, 1]}}})") == "E0227 #/a/prior");
}

TEST_CASE("a condition that never holds is written as one that contradicts itself") {
  const auto json = ToConfigSpace(Parsed(R"({"a": {"ordinal": [1, 2]}, "b": {"value": 1, "if": "a > 2"}})"));
  REQUIRE(json.ok());
  const nlohmann::json& condition = (*json)["conditions"][0];
  CHECK(condition["type"] == "AND");
  CHECK(condition["conditions"][0]["type"] == "EQ");
  CHECK(condition["conditions"][1]["type"] == "NEQ");
  CHECK(condition["conditions"][0]["value"] == condition["conditions"][1]["value"]);
}

}  // namespace
}  // namespace rung
