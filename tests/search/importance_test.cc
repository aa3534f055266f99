// On small grids every tree is the function itself, so that its shares are those of paper and pencil.
#include "search/importance.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <set>

#include "absl/strings/str_format.h"

namespace rung {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Number(const Config& config, const std::string& name) {
  const Value& value = config.at(name);
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  return std::get<double>(value);
}

std::string Word(const Config& config, const std::string& name) {
  return std::get<std::string>(config.at(name));
}

// Configs drawn at random, each judged by `loss`.
struct Judged {
  Judged(const std::string& text, int count, const std::function<double(const Config&)>& loss) {
    absl::StatusOr<Space> parsed = Space::Parse(nlohmann::json::parse(text));
    INFO(parsed.status().message());
    REQUIRE(parsed.ok());
    space.emplace(*std::move(parsed));
    for (int i = 1; i <= count; ++i) {
      Rng rng(1, static_cast<uint64_t>(i));
      configs.push_back(space->Sample(rng));
      results.push_back({{i}, &configs.back(), loss(configs.back())});
    }
  }
  Judged(const Judged&) = delete;
  Judged& operator=(const Judged&) = delete;
  Importance Ask(int64_t seed = 7) const { return ImportanceOf(*space, results, seed); }

  std::optional<Space> space;
  std::deque<Config> configs;
  std::vector<Observation> results;
};

double ShareOf(const Importance& importance, const std::string& parameter) {
  for (const Importance::MainEffect& each : importance.parameters) {
    if (each.parameter == parameter) return each.share.mean;
  }
  FAIL("no parameter " << parameter);
  return 0;
}

double PairShare(const Importance& importance, const std::set<std::string>& pair) {
  for (const Importance::Interaction& each : importance.interactions) {
    if (std::set<std::string>{each.first, each.second} == pair) return each.share.mean;
  }
  return 0;
}

std::string Text(const Importance& importance) {
  std::string text = absl::StrFormat("%d %d\n", importance.results, importance.trees);
  for (const auto& [parameter, share] : importance.parameters)
    text += absl::StrFormat("%s %.17g %.17g\n", parameter, share.mean, share.deviation);
  for (const auto& [first, second, share] : importance.interactions)
    text += absl::StrFormat("%s %s %.17g %.17g\n", first, second, share.mean, share.deviation);
  return text;
}

// Variances over the values: 0, 1, 3 have 10/3 - (4/3)^2 = 14/9; 1, 2, 4, 8 have 85/4 - (15/4)^2 = 7.1875.
TEST_CASE("a sum of a category and an ordinal has the shares of their variances, on every scale") {
  for (const double scale : {1.0, -1e300, 1e-300}) {
    const Judged judged(R"({"c": ["a", "b", "c"], "o": {"ordinal": [1, 2, 4, 8]}, "k": 3})", 400,
                        [&](const Config& config) {
                          const std::string c = Word(config, "c");
                          return scale * (Number(config, "o") + (c == "a" ? 0 : c == "b" ? 1 : 3));
                        });
    const Importance importance = judged.Ask();
    CAPTURE(scale, Text(importance));
    CHECK(importance.results == 400);
    CHECK(importance.trees == 64);
    const double total = 14.0 / 9 + 7.1875;
    CHECK(ShareOf(importance, "o") == Approx(7.1875 / total).epsilon(1e-9));
    CHECK(ShareOf(importance, "c") == Approx(14.0 / 9 / total).epsilon(1e-9));
    CHECK(ShareOf(importance, "k") == 0);
    CHECK(PairShare(importance, {"c", "o"}) < 1e-9);
    REQUIRE(importance.parameters.size() == 3);
    CHECK(importance.parameters[0].parameter == "o");
    CHECK(importance.parameters[0].share.deviation < 1e-6);
    CHECK(importance.parameters[2].parameter == "k");
  }
}

// n has the variance 5/4; m is up to 2 on ln(2.5 / .5) / ln(8.5 / .5) of its scale.
TEST_CASE("integers count by their values, logarithmic ones by their share of the scale") {
  const Judged judged(
      R"({"n": {"int": [1, 4]}, "m": {"int": [1, 8], "log": true}})", 400,
      [](const Config& config) { return Number(config, "n") + (Number(config, "m") <= 2 ? 0 : 3); });
  const Importance importance = judged.Ask();
  CAPTURE(Text(importance));
  const double low = std::log(5) / std::log(17);
  const double m = 9 * low * (1 - low);
  CHECK(ShareOf(importance, "m") == Approx(m / (m + 1.25)).epsilon(1e-9));
  CHECK(ShareOf(importance, "n") == Approx(1.25 / (m + 1.25)).epsilon(1e-9));
}

TEST_CASE("what only two parameters together decide is their interaction") {
  const Judged judged(R"({"p": ["a", "b"], "q": ["a", "b"]})", 200, [](const Config& config) {
    return Word(config, "p") == Word(config, "q") ? 1.0 : 0.0;
  });
  const Importance importance = judged.Ask();
  CAPTURE(Text(importance));
  CHECK(ShareOf(importance, "p") < 1e-9);
  CHECK(ShareOf(importance, "q") < 1e-9);
  REQUIRE(importance.interactions.size() == 1);
  CHECK(importance.interactions[0].first == "p");
  CHECK(importance.interactions[0].second == "q");
  CHECK(importance.interactions[0].share.mean == Approx(1).epsilon(1e-9));
}

// Over (c, z) alike: 0, 0, 0, 1. The variance is 3/16; each marginal is 0 or 1/2, of variance 1/16.
TEST_CASE("the value of an inactive parameter has no effect") {
  const Judged judged(R"({"c": ["a", "b"], "z": {"ordinal": [1, 2], "if": "c = b"}})", 300,
                      [](const Config& config) { return config.contains("z") && Number(config, "z") == 2; });
  const Importance importance = judged.Ask();
  CAPTURE(Text(importance));
  CHECK(ShareOf(importance, "c") == Approx(1.0 / 3).epsilon(1e-9));
  CHECK(ShareOf(importance, "z") == Approx(1.0 / 3).epsilon(1e-9));
  CHECK(PairShare(importance, {"c", "z"}) == Approx(1.0 / 3).epsilon(1e-9));
}

// On [0, 1]: x has the variance 1/12. xy: 7/144, of which 1/48 each alone and 1/144 together.
TEST_CASE("a forest of few results comes near the shares of smooth functions") {
  const std::string square = R"({"x": {"low": 0, "high": 1}, "y": {"low": 1e-3, "high": 1, "log": true}})";
  const auto y = [](const Config& config) { return 1 + std::log10(Number(config, "y")) / 3; };
  const Judged sum(square, 400, [&](const Config& config) { return 2 * Number(config, "x") + y(config); });
  const Importance of_sum = sum.Ask();
  CAPTURE(Text(of_sum));
  CHECK(ShareOf(of_sum, "x") == Approx(.8).margin(.1));
  CHECK(ShareOf(of_sum, "y") == Approx(.2).margin(.1));
  CHECK(of_sum.parameters[0].share.deviation > 0);

  const Judged product(square, 400, [&](const Config& config) { return Number(config, "x") * y(config); });
  const Importance of_product = product.Ask();
  CAPTURE(Text(of_product));
  CHECK(ShareOf(of_product, "x") == Approx(3.0 / 7).margin(.1));
  CHECK(ShareOf(of_product, "y") == Approx(3.0 / 7).margin(.1));
  const double together = PairShare(of_product, {"x", "y"});
  CHECK(together == Approx(1.0 / 7).margin(.1));
  CHECK(together + ShareOf(of_product, "x") + ShareOf(of_product, "y") == Approx(1).epsilon(1e-9));
}

TEST_CASE("shares are a function of results and seed, whatever the order of the results") {
  Judged judged(
      R"({"x": {"low": 0, "high": 1}, "c": ["a", "b", "c"], "z": {"low": 0, "high": 1, "if": "c = b"}})",
      1300, [](const Config& config) {
        return Number(config, "x") * (config.contains("z") ? Number(config, "z") : .5);
      });
  const Importance importance = judged.Ask();
  CHECK(importance.results == kMostImportanceResults);
  CHECK(Text(judged.Ask()) == Text(importance));
  CHECK(Text(judged.Ask(8)) != Text(importance));
  std::reverse(judged.results.begin(), judged.results.end());
  CHECK(Text(judged.Ask()) == Text(importance));
}

TEST_CASE("failed configs are left out, and where nothing varies nothing has a share") {
  const std::string line = R"({"x": {"low": 0, "high": 1}, "k": 3})";
  const auto half_fail = [](const Config& config) {
    return Number(config, "x") < .5 ? Number(config, "x") : kInfinity;
  };
  const Importance finite = Judged(line, 60, half_fail).Ask();
  CHECK(finite.results > 10);
  CHECK(finite.results < 50);
  CHECK(ShareOf(finite, "x") == Approx(1).epsilon(1e-9));
  for (const Importance& importance : {Judged(line, 30, [](const Config&) { return .3; }).Ask(),
                                       Judged(line, 30, [](const Config&) { return kInfinity; }).Ask(),
                                       Judged(R"({"k": 3})", 30, [](const Config&) { return 1.0; }).Ask()}) {
    CHECK(importance.trees == 0);
    CHECK(ShareOf(importance, "k") == 0);
    CHECK(importance.interactions.empty());
  }
}

TEST_CASE("ten results are needed, or two a parameter that varies") {
  const auto fewest = [](const std::string& text) {
    return FewestImportanceResults(*Space::Parse(nlohmann::json::parse(text)));
  };
  CHECK(fewest(R"({"a": ["x", "y"], "k": 1})") == 10);
  CHECK(fewest(R"({"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "y"], "d": ["x", "y"], "e": ["x", "y"],
                   "f": ["x", "y"], "k": 1})") == 12);
}

}  // namespace
}  // namespace rung
