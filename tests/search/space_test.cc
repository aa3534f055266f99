#include "search/space.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "search/samplers/encoding.h"

namespace rung {
namespace {

Space Parsed(const std::string& text) {
  absl::StatusOr<Space> space = Space::Parse(nlohmann::json::parse(text));
  INFO(space.status().message());
  REQUIRE(space.ok());
  return *std::move(space);
}

// A parameter in one line.
std::string Described(const Parameter& parameter) {
  std::string text;
  switch (parameter.kind) {
    case ParameterKind::kFloat:
    case ParameterKind::kInt:
      text = absl::StrFormat("%s %g to %g", parameter.kind == ParameterKind::kInt ? "int" : "float",
                             parameter.low, parameter.high);
      break;
    case ParameterKind::kCategorical:
      text = "categorical";
      break;
    case ParameterKind::kOrdinal:
      text = "ordinal";
      break;
    case ParameterKind::kConstant:
      text = "constant";
      break;
  }
  for (const Value& choice : parameter.choices) text += " " + Text(choice);
  if (parameter.log) text += " log";
  if (parameter.step.has_value()) text += absl::StrFormat(" step %g", *parameter.step);
  if (HasPrior(parameter)) text += " prior";
  if (parameter.condition.has_value()) text += " if " + parameter.condition->text();
  return text;
}

TEST_CASE("the documented space") {
  const Space space = Parsed(*ReadFile(RUNG_SOURCE_DIR "/spaces/text-classification.json"));
  std::map<std::string, std::string> parameters;
  for (const Parameter& parameter : space.parameters()) parameters[parameter.name] = Described(parameter);
  const std::map<std::string, std::string> documented = {
      {"max_seq_length", "ordinal 128 256 512"},
      {"per_device_train_batch_size", "ordinal 4 8 16"},
      {"model_name_or_path",
       "categorical bert-base-uncased bert-base-multilingual-cased "
       "deepset/bert-base-german-cased-oldvocab uklfr/gottbert-base dvm1983/TinyBERT_General_4L_312D_de "
       "linhd-postdata/alberti-bert-base-multilingual-cased dbmdz/distilbert-base-german-europeana-cased"},
      {"optimizer_name", "categorical Adam AdamW SGD RAdam"},
      {"sgd_momentum", "float 0 to 0.99 if optimizer_name = SGD"},
      {"learning_rate", "float 2e-05 to 7e-05 log"},
      {"scheduler_name",
       "categorical linear_with_warmup cosine_with_warmup cosine_with_hard_restarts_with_warmup "
       "polynomial_decay_with_warmup constant_with_warmup"},
      {"weight_decay", "float 1e-05 to 0.001 log"},
      {"warmup_steps", "ordinal 10 100 500"},
      {"gradient_accumulation_steps", "ordinal 1 4 8 16"},
      {"adam_epsilon", "float 1e-08 to 1e-06 log if optimizer_name in (Adam, AdamW, RAdam)"}};
  CHECK(parameters == documented);
  CHECK(space.forbidden().empty());
  CHECK(space.Dimension() == 11);
  Rng rng(1, 1);
  std::set<std::string> optimizers;
  for (int i = 0; i < 500; ++i) {
    const Config config = space.Sample(rng);
    CHECK(space.Validate(config).ok());
    const bool sgd = config.at("optimizer_name") == Value(std::string("SGD"));
    CHECK(config.contains("sgd_momentum") == sgd);
    CHECK(config.contains("adam_epsilon") == !sgd);
    optimizers.insert(Text(config.at("optimizer_name")));
    const double lr = std::get<double>(config.at("learning_rate"));
    CHECK((lr >= 2e-5 && lr <= 7e-5));
  }
  CHECK(optimizers.size() == 4);
}

TEST_CASE("written and read again it is the same space") {
  const Space space = Parsed(R"({"a": {"int": [1, 64], "log": true, "default": 3}, "b": ["x", "y"],
      "c": {"low": 0, "high": 1, "step": 0.1, "if": "b = y and a > 4"}, "d": {"ordinal": [1, 2.5, 9]}, "e": true,
      "f": {"values": [1, 2], "prior": {"weights": [3, 1]}}, "g": {"low": 1, "high": 2, "prior": {"normal": [1.5, 0.1]}},
      "forbidden": ["a = 64 and b = x"]})");
  const nlohmann::json json = space.ToJson();
  CHECK(Space::Parse(json)->ToJson() == json);
  CHECK(json["forbidden"][0] == "a = 64 and b = x");
  CHECK(json["c"]["if"] == "b = y and a > 4");
  CHECK(json["d"]["ordinal"][0].is_number_integer());
  CHECK(json["e"]["value"] == true);
}

TEST_CASE("nested conditions switch off what depends on them, and defaults follow") {
  const Space space = Parsed(R"({"a": {"values": ["off", "on"], "default": "on"},
      "b": {"values": [1, 2], "if": "a = on", "default": 2}, "c": {"low": 0, "high": 4, "if": "not b = 1"},
      "d": {"low": 1e-4, "high": 1e-2, "log": true}})");
  const Config defaults = space.Default();
  CHECK(std::get<double>(defaults.at("c")) == 2);
  CHECK(std::get<double>(defaults.at("d")) == Approx(1e-3));
  CHECK(space.Validate(defaults).ok());
  Rng rng(2, 3);
  for (int i = 0; i < 200; ++i) {
    const Config config = space.Sample(rng);
    const bool on = config.at("a") == Value(std::string("on"));
    CHECK(config.contains("b") == on);
    CHECK(config.contains("c") == (on && config.at("b") == Value(int64_t{2})));
  }
  Config changed = defaults;
  changed["a"] = std::string("off");
  CHECK(space.Completed(changed, rng).size() == 2);
  CHECK(GetErrorDetail(space.Validate(changed))->code == "E0232");
}

TEST_CASE("forbidden configs are sampled around") {
  const Space space = Parsed(R"({"a": {"ordinal": ["s", "m", "l"], "default": "s"}, "b": [1, 2, 3], "c": 1,
                                 "forbidden": ["a >= m and b = 1", "a = l and b != 1"]})");
  Rng rng(4, 4);
  std::set<std::string> seen;
  for (int i = 0; i < 300; ++i) seen.insert(CanonicalJson(space.Sample(rng)));
  CHECK(seen.size() == 5);
  CHECK(space.Grid(1).size() == 5);
  const Config forbidden = {{"a", std::string("l")}, {"b", int64_t{3}}, {"c", int64_t{1}}};
  CHECK(GetErrorDetail(space.Validate(forbidden))->code == "E0234");
}

TEST_CASE("values go to [0, 1] and back") {
  const Space space =
      Parsed(R"({"i": {"int": [3, 12]}, "l": {"int": [1, 100], "log": true}, "s": {"low": 0, "high": 0.3,
      "step": 0.1}, "o": {"ordinal": [1, 5, 9]}, "f": {"low": -2, "high": 2}, "g": {"low": 1e-6, "high": 1, "log": true},
      "t": {"int": [0, 10], "step": 5}})");
  for (const Parameter& parameter : space.parameters()) {
    INFO(parameter.name);
    std::set<std::string> reached;
    for (double unit = 0; unit <= 1; unit += 1.0 / 4096) {
      const Value value = parameter.FromUnit(unit);
      CHECK(parameter.FromUnit(parameter.ToUnit(value)) ==
            (parameter.Cardinality() ? value : parameter.FromUnit(parameter.ToUnit(value))));
      reached.insert(Text(value));
      const double back = parameter.ToUnit(value);
      REQUIRE((back >= 0 && back <= 1));
    }
    if (const auto count = parameter.Cardinality()) CHECK(static_cast<int64_t>(reached.size()) == *count);
  }
  CHECK(*space.Find("s")->Cardinality() == 4);
  CHECK(space.Find("i")->ToUnit(int64_t{3}) == Approx(.05));
  CHECK(space.Find("o")->ToUnit(int64_t{5}) == Approx(.5));
}

TEST_CASE("priors steer random picks") {
  const Space space = Parsed(R"({"w": {"values": ["a", "b", "c"], "prior": {"weights": [8, 0, 2]}},
      "n": {"low": 1e-5, "high": 1e-1, "log": true, "prior": {"normal": [-9.21034, 0.5]}}})");
  Rng rng(9, 9);
  int a = 0, b = 0;
  double logs = 0;
  for (int i = 0; i < 2000; ++i) {
    const Config config = space.Sample(rng);
    a += config.at("w") == Value(std::string("a"));
    b += config.at("w") == Value(std::string("b"));
    logs += std::log(std::get<double>(config.at("n")));
  }
  CHECK(std::abs(a - 1600) < 100);
  CHECK(b == 0);
  CHECK(logs / 2000 == Approx(-9.21).epsilon(.02));
}

TEST_CASE("log-normal and beta priors steer random picks") {
  const Space space = Parsed(R"({"l": {"low": 0.001, "high": 1000, "prior": {"lognormal": [1.5, 0.25]}},
      "b": {"low": 10, "high": 20, "prior": {"beta": [2, 6]}}, "s": {"low": 0, "high": 1, "prior": {"beta": [0.5, 0.5]}},
      "i": {"int": [1, 9], "prior": {"normal": [7, 0.5]}}})");
  CHECK(Space::Parse(space.ToJson())->ToJson() == space.ToJson());
  Rng rng(5, 5);
  double logs = 0, betas = 0, squares = 0, ints = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const Config config = space.Sample(rng);
    REQUIRE(space.Validate(config).ok());
    logs += std::log(std::get<double>(config.at("l"))) / kDraws;
    betas += (std::get<double>(config.at("b")) - 10) / 10 / kDraws;
    squares += std::pow(std::get<double>(config.at("s")) - .5, 2) / kDraws;
    ints += static_cast<double>(std::get<int64_t>(config.at("i"))) / kDraws;
  }
  CHECK(logs == Approx(1.5).margin(.02));
  CHECK(betas == Approx(.25).margin(.01));      // a / (a + b)
  CHECK(squares == Approx(.125).margin(.005));  // a b / ((a + b)^2 (a + b + 1))
  CHECK(ints == Approx(7).margin(.7));
}

TEST_CASE("clauses may compare parameters with each other") {
  const Space space = Parsed(R"({"low": {"int": [1, 9], "default": 2}, "high": {"int": [1, 9], "default": 8},
      "a": ["x", "y", "high"], "b": {"values": ["x", "y"], "default": "y"},
      "c": {"low": 0, "high": 1, "if": "low < high and a != b"},
      "forbidden": ["low >= high", "a = high and b = x", "a = \"high\" and low = 1"]})");
  Rng rng(6, 6);
  int with_c = 0;
  for (int i = 0; i < 500; ++i) {
    const Config config = space.Sample(rng);
    CHECK(std::get<int64_t>(config.at("low")) < std::get<int64_t>(config.at("high")));
    CHECK(config.contains("c") == (config.at("a") != config.at("b")));
    // "high" is a value of a: the bare word means that value.
    const bool high = config.at("a") == Value(std::string("high"));
    CHECK_FALSE(
        (high && (config.at("b") == Value(std::string("x")) || config.at("low") == Value(int64_t{1}))));
    with_c += config.contains("c");
  }
  CHECK(with_c > 100);
  CHECK(with_c < 500);
}

TEST_CASE("what is inactive makes a comparison unknown, and can be asked for") {
  const Space space = Parsed(R"({"a": ["x", "y"], "b": {"values": [1, 2], "if": "a = x"},
      "either": {"value": 1, "if": "a = y or b = 2"}, "both": {"value": 1, "if": "a = y and b = 2"},
      "other": {"value": 1, "if": "b is inactive or b != 1"}, "there": {"value": 1, "if": "not b is inactive"}})");
  const auto active = [&](const Config& given) {
    Rng rng(1, 1);
    const Config config = space.Completed(given, rng);
    std::string names;
    for (const auto& [name, value] : config) names += name + " ";
    return names;
  };
  CHECK(active({{"a", std::string("y")}}) == "a either other ");
  CHECK(active({{"a", std::string("x")}, {"b", int64_t{1}}}) == "a b there ");
  CHECK(active({{"a", std::string("x")}, {"b", int64_t{2}}}) == "a b either other there ");
}

TEST_CASE("conditions nest as deep as anybody writes them") {
  std::string deep = "a = 1";
  for (int i = 0; i < 100; ++i) deep = "not (" + deep + ")";
  const Space space = Parsed(R"({"a": [1, 2], "b": {"value": 1, "if": ")" + deep + "\"}}");
  Rng rng(1, 1);
  CHECK(space.Completed({{"a", int64_t{1}}}, rng).size() == 2);
  CHECK(space.Completed({{"a", int64_t{2}}}, rng).size() == 1);
}

TEST_CASE("grids") {
  const Space space =
      Parsed(R"({"x": {"low": 0, "high": 1}, "n": {"int": [1, 3]}, "z": {"values": [1, 2], "if": "n = 2"}})");
  CHECK(space.Grid(5).size() == 5 * 4);
  CHECK(std::get<double>(space.Grid(2).back().at("x")) == 1);
  CHECK_FALSE(space.Finite());
}

// p00 to p39 of two values, with these clauses: 2^40 points.
Space ManyFlags(const std::string& forbidden) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += absl::StrFormat(R"("p%02d": {"values": [1, 2], "default": 2}, )", i);
  return Parsed("{" + text + "\"forbidden\": " + forbidden + "}");
}

TEST_CASE("a grid skips what its first values forbid") {
  const std::vector<Config> grid = ManyFlags(R"(["p00 = 1 and p01 = 1"])").Grid(1, 10);
  REQUIRE(grid.size() == 10);
  for (const Config& config : grid) {
    CHECK(config.at("p00") == Value(int64_t{1}));
    CHECK(config.at("p01") == Value(int64_t{2}));
  }
  const Space late = Parsed(R"({"n": {"int": [1, 200000], "default": 200000}, "forbidden": ["n < 190000"]})");
  CHECK(late.Grid(1).size() == 10001);
}

TEST_CASE("constants make a grid no larger") {
  std::string text = R"({"n": {"int": [1, 40000]})";
  for (int i = 0; i < 60; ++i) text += ", \"c" + std::to_string(i) + "\": 1";
  CHECK(Parsed(text + "}").Grid(1).size() == 40'000);
}

TEST_CASE("a grid that hides behind forbidden points is not looked for for ever") {
  const Space space = ManyFlags(R"(["p00 = 1 and p39 = 1", "p00 = 1 and p39 = 2"])");
  CHECK(space.Grid(1, 10).empty());
  Rng rng(1, 1);
  CHECK(space.Sample(rng).at("p00") == Value(int64_t{2}));
}

TEST_CASE("errors quote the beginning of a long condition, name or value") {
  const std::string longer(40000, 'x');
  for (const std::string& text : {
           R"({"a": [1, 2], "b": {"value": 1, "if": "a is )" + longer + R"("}})",
           R"({"a": [1, 2], "forbidden": ["a = )" + longer + R"("]})",
           R"({"a": [1, 2], "forbidden": [")" + longer + R"( = 1"]})",
           R"({"a": [1, 2], "forbidden": ["a = 1)" + std::string(40000, ' ') + R"("]})",
           R"({"a": [")" + longer + R"(", "y"], "b": {"value": 1, "if": "a = z"}})",
           R"({"a": {"low": 0, "high": 1, ")" + longer + R"(": 2}})",
           "{\"" + longer + R"(": 1})",
       }) {
    const absl::Status status = Space::Parse(nlohmann::json::parse(text)).status();
    REQUIRE_FALSE(status.ok());
    const ErrorDetail detail = *GetErrorDetail(status);
    INFO(detail.code);
    CHECK(detail.message.size() < 300);
    CHECK(detail.value.size() < 300);
    CHECK(detail.mend.size() < 300);
  }
}

TEST_CASE("impossible spaces are refused with code, place and mend") {
  struct Case {
    const char* text;
    const char* code;
    const char* where;
    const char* word;  // in the message or the mend
  };
  const Case cases[] = {
      {R"([])", "E0201", "#", "object"},
      {R"({})", "E0201", "#", "no parameter"},
      {R"({"lr": {"low": 1, "high": 0.5}})", "E0204", "#/lr/low", "Swap"},
      {R"({"lr": {"low": 1, "high": 1}})", "E0204", "#/lr/low", "constant"},
      {R"({"lr": {"low": 0, "high": 1, "log": true}})", "E0211", "#/lr/low", "1e-5"},
      {R"({"n": {"int": [0, 9], "log": true}})", "E0211", "#/n/int", "1 or more"},
      {R"({"n": {"int": [9, 1]}})", "E0204", "#/n/int", "Swap"},
      {R"({"n": {"int": [1, 2.5]}})", "E0206", "#/n/int/1", "2.5 is not an integer"},
      {R"({"lr": {"low": 0, "high": 1, "logg": true}})", "E0205", "#key:/lr/logg", "Did you mean log"},
      {R"({"lr": {"min": 0, "max": 1}})", "E0205", "#key:/lr/max", "Did you mean high"},
      {R"({"lr": {"low": -1.7e308, "high": 1.7e308}})", "E0204", "#/lr/low", "too far below"},
      {R"({"lr": {"low": "0", "high": 1}})", "E0206", "#/lr/low", "number"},
      {R"({"lr": {"low": 0}})", "E0208", "#/lr", "high"},
      {R"({"lr": {"default": 1}})", "E0210", "#/lr", "one of"},
      {R"({"a": []})", "E0206", "#/a", "empty list"},
      {R"({"a": [1, "x"]})", "E0206", "#/a/1", "mixes"},
      {R"({"a": [1, 1.0]})", "E0206", "#/a/1", "twice"},
      {R"({"a": [null]})", "E0206", "#/a/0", "no value"},
      {R"({"a": {"values": [1, 2], "default": 3}})", "E0212", "#/a/default", "1, 2"},
      {R"({"a": {"values": [1, 2], "log": true}})", "E0207", "#/a/log", "ranges"},
      {R"({"a": {"low": 0, "high": 1, "step": 2}})", "E0207", "#/a/step", "step"},
      {R"({"a": [1, 2], "b": {"value": 1, "if": "aa = 1"}})", "E0221", "#/b/if", "Did you mean a"},
      {R"({"a": ["x", "yy"], "b": {"value": 1, "if": "a = yyy"}})", "E0222", "#/b/if", "Did you mean yy"},
      {R"({"a": ["x", "y"], "b": {"value": 1, "if": "a < y"}})", "E0222", "#/b/if", "no order"},
      {R"({"a": {"low": 0, "high": 1}, "b": {"value": 1, "if": "a = y"}})", "E0222", "#/b/if", "number"},
      {R"({"a": {"value": 1, "if": "b = 1"}, "b": {"value": 1, "if": "a = 1"}})", "E0223", "#/a/if",
       "each other"},
      {R"({"a": {"value": 1, "if": "b ="}})", "E0220", "#/a/if", "column"},
      {R"({"a": [1, 2], "forbidden": ["a = 1"]})", "E0224", "#/forbidden/0", "default"},
      {R"({"a": {"low": 0, "high": 1}, "b": {"low": 0, "high": 1}, "forbidden": ["a < b", "a >= b"]})",
       "E0225", "#/forbidden", "leaves nothing"},
      {R"({"a": {"low": 0, "high": 1, "default": 0}, "forbidden": ["a > 0.0001"]})", "E0225", "#/forbidden",
       "too little"},
      {R"({"a": {"low": 0, "high": 1}, "forbidden": ["a > 0.2"]})", "E0224", "#/forbidden/0", "for example"},
      {R"({"a": ["x", "y"], "b": {"low": 0, "high": 1}, "forbidden": ["b < a"]})", "E0222", "#/forbidden/0",
       "compare"},
      {R"({"a": [1, 2], "b": {"value": 1, "if": "a is on"}})", "E0220", "#/b/if", "inactive"},
      {R"({"a": {"low": 1, "high": 2, "log": true, "prior": {"lognormal": [0, 1]}}})", "E0207",
       "#/a/prior/lognormal", "log = true"},
      {R"({"a": {"low": 0, "high": 2, "prior": {"lognormal": [0, 1]}}})", "E0207", "#/a/prior/lognormal",
       "low"},
      {R"({"a": {"low": 0, "high": 2, "prior": {"beta": [0, 1]}}})", "E0207", "#/a/prior/beta", "above 0"},
      {R"({"a": {"low": 0, "high": 2, "prior": {}}})", "E0207", "#/a/prior", "normal"},
      {R"({"hyperparameters": [{"name": "x", "type": "uniform_float", "lower": 2, "upper": 1}]})", "E0204",
       "#/hyperparameters/0", "Swap"},
      {R"({"hyperparameters": [{"name": "x", "type": "odd"}]})", "E0226", "#/hyperparameters/0/type",
       "uniform_float"},
      {R"({"hyperparameters": [{"name": "x", "type": "constant", "value": 1}], "conditions": [{"type": "EQ", "child": "y"}]})",
       "E0226", "#/conditions/0", "no hyperparameter"},
      {R"({"a": [1, 2], "forbidden": "a = 1"})", "E0206", "#/forbidden", "list"},
      {R"({"a": [1, 2], "constraints": []})", "E0213", "#key:/constraints", "reserved"},
      {R"({"a": {"values": [1, 2], "prior": {"weights": [1]}}})", "E0206", "#/a/prior/weights", "2 numbers"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const absl::Status status = Space::Parse(nlohmann::json::parse(c.text)).status();
    REQUIRE_FALSE(status.ok());
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    const ErrorDetail detail = *GetErrorDetail(status);
    INFO(detail.message << " | " << detail.mend);
    CHECK(detail.code == c.code);
    CHECK(detail.where == c.where);
    CHECK((detail.message + " " + detail.mend).find(c.word) != std::string::npos);
    CHECK_FALSE(detail.mend.empty());
  }
}

}  // namespace
}  // namespace rung
