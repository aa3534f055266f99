// One contract for all samplers.
#include "search/samplers/sampler.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <limits>
#include <set>

#include "tests/search/study_fixture.h"

namespace rung {
namespace {

constexpr char kAwkward[] =
    R"({"space": {"x": {"low": 0, "high": 1}, "y": {"int": [1, 30], "log": true}, "k": 3,
    "c": ["a", "b", "c"], "z": {"low": 1e-4, "high": 1, "log": true, "if": "c = b"},
    "w": {"ordinal": [1, 2, 4], "if": "c != a"}, "forbidden": ["c = c and y > 20"]}})";

double Loss(const Config& config) {
  const double x = std::get<double>(config.at("x"));
  return (x - .2) * (x - .2) + (config.at("c") == Value(std::string("b")) ? 0 : .3);
}

// Asks `count` times, each answer judged at rung 0; every tenth config fails.
std::vector<Proposal> Asked(const StudySpec& spec, const Sampler& sampler, int count) {
  History history;
  history.rungs.resize(2);
  std::deque<Config> configs;
  std::vector<Proposal> proposals;
  for (int i = 1; i <= count; ++i) {
    Rng rng(static_cast<uint64_t>(spec.seed), static_cast<uint64_t>(i));
    proposals.push_back(sampler.Propose(history, rng));
    configs.push_back(proposals.back().config);
    history.configs.insert(ConfigHash(configs.back()));
    history.grid_trials += proposals.back().source == Origin::Source::kGrid;
    const double loss = i % 10 == 0 ? std::numeric_limits<double>::infinity() : Loss(configs.back());
    history.rungs[0].push_back({{i}, &configs.back(), loss});
  }
  return proposals;
}

TEST_CASE("every sampler proposes valid new configs, equal for equal history and seed, and says why") {
  for (
      const char* algorithm :
      {R"({"type": "random"})", R"({"type": "grid", "levels": 9})", R"({"type": "bohb"})",
       R"({"type": "hyperband"})",
       R"({"type": "bohb", "categorical_bandwidth": "original", "ordinals": "categorical", "min_points": 8})"}) {
    INFO(algorithm);
    nlohmann::json changes = nlohmann::json::parse(kAwkward);
    changes["algorithm"] = nlohmann::json::parse(algorithm);
    changes["stop"] = {{"trials", 150}};
    const StudySpec spec = Spec(StudyText(changes.dump()));
    const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
    const std::vector<Proposal> proposals = Asked(spec, *sampler, 150);
    const std::vector<Proposal> again = Asked(spec, *MakeSampler(spec), 150);
    std::set<std::string> distinct;
    for (size_t i = 0; i < proposals.size(); ++i) {
      CHECK(spec.space.Validate(proposals[i].config).ok());
      CHECK(nlohmann::json::parse(proposals[i].detail_json).contains("sampler"));
      CHECK(CanonicalJson(proposals[i].config) == CanonicalJson(again[i].config));
      CHECK(proposals[i].detail_json == again[i].detail_json);
      distinct.insert(CanonicalJson(proposals[i].config));
    }
    CHECK(distinct.size() == proposals.size());
  }
}

TEST_CASE("a sampler finds the last config of a finite space, and only then repeats one") {
  for (const char* type : {"random", "bohb"}) {
    const StudySpec spec = Spec(StudyText(absl::StrCat(
        R"({"space": {"x": {"values": [0.1, 0.5, 0.9]}, "y": {"int": [1, 5]}, "c": ["a", "b"], "z": null},
                         "algorithm": {"type": ")",
        type, R"("}, "stop": {"trials": 40}})")));
    std::set<std::string> distinct;
    const std::vector<Proposal> proposals = Asked(spec, *MakeSampler(spec), 33);
    for (size_t i = 0; i < 30; ++i) distinct.insert(CanonicalJson(proposals[i].config));
    CHECK(distinct.size() == 30);
  }
}

TEST_CASE("BOHB's model starts at 2d + 2 results and looks where the good ones are") {
  const StudySpec spec = Spec(StudyText(R"({"algorithm": {"random_fraction": 0}})"));
  const int d = spec.space.Dimension();
  const std::vector<Proposal> proposals = Asked(spec, *MakeSampler(spec), 120);
  for (int i = 0; i < 2 * d + 2; ++i)
    CHECK(proposals[static_cast<size_t>(i)].source == Origin::Source::kRandom);
  double early = 0, late = 0;
  for (int i = 2 * d + 2; i < 120; ++i) {
    CHECK(proposals[static_cast<size_t>(i)].source == Origin::Source::kModel);
    if (i >= 90) late += Loss(proposals[static_cast<size_t>(i)].config) / 30;
  }
  for (int i = 0; i < 10; ++i) early += Loss(proposals[static_cast<size_t>(i)].config) / 10;
  CHECK(late < early / 3);
  const auto detail = nlohmann::json::parse(proposals.back().detail_json);
  CHECK(detail["points"] == 119);
  CHECK(detail["n_good"] == 17);  // floor(.15 * 119)
  CHECK(detail["n_bad"] == 101);  // floor(.85 * 119)
}

TEST_CASE("the highest rung with a model proposes") {
  const StudySpec spec = Spec(StudyText(R"({"algorithm": {"random_fraction": 0}})"));
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  History history;
  history.rungs.resize(3);
  std::deque<Config> configs;
  for (int i = 1; i <= 40; ++i) {
    Rng rng(1, static_cast<uint64_t>(i));
    configs.push_back(spec.space.Sample(rng));
    history.rungs[0].push_back({{i}, &configs.back(), Loss(configs.back())});
    if (i <= 10) history.rungs[1].push_back({{i}, &configs.back(), Loss(configs.back())});
    if (i <= 9) history.rungs[2].push_back({{i}, &configs.back(), Loss(configs.back())});
  }
  Rng rng(2, 1);
  CHECK(sampler->Propose(history, rng).model_rung == 1);
}

TEST_CASE("a space of constants alone has no model, and does not crash") {
  const StudySpec spec = Spec(StudyText(R"({"space": {"x": 0.5, "y": 1, "c": "b", "z": null}})"));
  CHECK(Asked(spec, *MakeSampler(spec), 20).back().source == Origin::Source::kRandom);
}

}  // namespace
}  // namespace rung
