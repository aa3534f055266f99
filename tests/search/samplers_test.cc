// One contract for all samplers.
#include "search/samplers/sampler.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <set>

#include "search/samplers/acquisition_search.h"
#include "search/samplers/gp_model.h"
#include "search/samplers/kde.h"
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
    RememberFits(proposals.back().detail_json, history);
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
       R"({"type": "hyperband"})", R"({"type": "gp"})", R"({"type": "auto"})", R"({"type": "smac"})",
       R"({"type": "tpe"})", R"({"type": "dehb"})", R"({"type": "priorband"})", R"({"type": "sobol"})",
       R"({"type": "bohb", "categorical_bandwidth": "original", "ordinals": "categorical", "min_points": 8})"}) {
    INFO(algorithm);
    nlohmann::json changes = nlohmann::json::parse(kAwkward);
    changes["algorithm"] = nlohmann::json::parse(algorithm);
    constexpr int kAsked = 60;
    changes["stop"] = {{"trials", kAsked}};
    const StudySpec spec = Spec(StudyText(changes.dump()));
    const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
    const std::vector<Proposal> proposals = Asked(spec, *sampler, kAsked);
    const std::vector<Proposal> again = Asked(spec, *MakeSampler(spec), kAsked);
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
  for (const char* type : {"random", "bohb", "gp", "smac", "tpe", "dehb", "priorband", "sobol"}) {
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
  CHECK(detail["candidates"] == 64);
}

// A history of configs drawn at random, each judged by `loss`.
class Drawn {
 public:
  Drawn(const StudySpec& spec, int rungs) : spec_(spec) { history.rungs.resize(static_cast<size_t>(rungs)); }
  const Config& Judge(int rung, const std::function<double(const Config&)>& loss) {
    const TrialId trial{static_cast<int64_t>(configs_.size()) + 1};
    Rng rng(1, static_cast<uint64_t>(trial.value));
    configs_.push_back(spec_.space.Sample(rng));
    history.configs.insert(ConfigHash(configs_.back()));
    history.rungs[static_cast<size_t>(rung)].push_back({trial, &configs_.back(), loss(configs_.back())});
    return configs_.back();
  }
  History history;

 private:
  const StudySpec& spec_;
  std::deque<Config> configs_;
};

StudySpec OneNumber() {
  return Spec(StudyText(
      R"({"space": {"x": {"low": 0, "high": 1}, "y": null, "c": null, "z": null},
          "algorithm": {"type": "gp", "random_fraction": 0}})"));
}

double X(const Config& config) {
  return std::get<double>(config.at("x"));
}

// Configs of one number x, each with its loss.
class Judged {
 public:
  explicit Judged(const std::vector<std::pair<double, double>>& x_and_loss) {
    history.rungs.resize(1);
    for (const auto& [x, loss] : x_and_loss) {
      configs_.push_back({{"x", x}});
      history.configs.insert(ConfigHash(configs_.back()));
      history.rungs[0].push_back({{static_cast<int64_t>(configs_.size())}, &configs_.back(), loss});
    }
  }
  History history;

 private:
  std::deque<Config> configs_;
};

StudySpec OneNumberForBohb(const std::string& keys) {
  return Spec(
      StudyText(absl::StrCat(R"({"space": {"x": {"low": 0, "high": 1}, "y": null, "c": null, "z": null},
                                         "algorithm": {"type": "bohb", )",
                             keys, "}}")));
}

TEST_CASE("a third of BOHB's proposals are random unless the study says otherwise") {
  const Judged judged({{.1, 0}, {.2, 1}, {.3, 2}, {.4, 3}});
  const StudySpec spec = OneNumberForBohb(R"("top_percent": 50)");
  const auto sampler = MakeSampler(spec);
  int random = 0;
  for (uint64_t i = 0; i < 1800; ++i) {
    Rng rng(4, i);
    const Proposal proposal = sampler->Propose(judged.history, rng);
    if (proposal.source == Origin::Source::kModel) continue;
    ++random;
    CHECK(nlohmann::json::parse(proposal.detail_json)["why"] == "random_fraction");
  }
  CHECK(random == Approx(600).margin(80));  // the deviation is 20
}

TEST_CASE("BOHB draws its candidates three bandwidths of the good ones wide") {
  // No spread among the good: their bandwidth is the smallest, 1e-3.
  const Judged judged({{.5, 0}, {.5, 0}, {.1, 1}, {.9, 1}});
  const auto deviation = [&](const std::string& keys) {
    const StudySpec spec = OneNumberForBohb(R"("random_fraction": 0, "candidates": 1)" + keys);
    const auto sampler = MakeSampler(spec);
    constexpr int kDraws = 1000;
    double squares = 0;
    for (uint64_t i = 0; i < kDraws; ++i) {
      Rng rng(5, i);
      const double off = X(sampler->Propose(judged.history, rng).config) - .5;
      squares += off * off / kDraws;
    }
    return std::sqrt(squares);
  };
  CHECK(deviation("") == Approx(3e-3).epsilon(.1));
  CHECK(deviation(R"(, "bandwidth_factor": 1)") == Approx(1e-3).epsilon(.1));
  CHECK(deviation(R"(, "min_bandwidth": 0.01)") == Approx(3e-2).epsilon(.1));
}

// Good ones at .3 and .7 alike, the bad on the lower side: few bad ones for the good is above .7.
TEST_CASE("BOHB proposes the candidate with the least bad density for its good one") {
  std::vector<std::pair<double, double>> rows;
  for (int i = 0; i < 5; ++i) {
    rows.push_back({.3, 0});
    rows.push_back({.7, 0});
    rows.push_back({.1 * i, 1});
    rows.push_back({.1 * (i + 1), 1});
  }
  const Judged judged(rows);
  const StudySpec all = OneNumberForBohb(R"("random_fraction": 0, "top_percent": 50)");
  const auto sampler = MakeSampler(all);
  for (uint64_t i = 0; i < 50; ++i) {
    Rng rng(6, i);
    CHECK(X(sampler->Propose(judged.history, rng).config) > .7);
  }
  // With more candidates of the same dice the best so far stays, or gives way to a better one.
  for (uint64_t i = 0; i < 10; ++i) {
    double best = 0;
    for (int count = 1; count <= 20; ++count) {
      const StudySpec some =
          OneNumberForBohb(absl::StrCat(R"("random_fraction": 0, "top_percent": 50, "candidates": )", count));
      Rng rng(6, i);
      const auto detail = nlohmann::json::parse(MakeSampler(some)->Propose(judged.history, rng).detail_json);
      const double score = detail["density_good"].get<double>() / detail["density_bad"].get<double>();
      CHECK((detail["chosen"] == count - 1 ? score > best : score == best));
      best = score;
    }
  }
}

TEST_CASE("ordinals are numbers or categories, as the study says") {
  const StudySpec spec = Spec(StudyText(
      R"({"space": {"x": {"ordinal": [1, 2, 4, 8]}, "y": null, "c": null, "z": null},
          "algorithm": {"random_fraction": 0}, "stop": {"trials": 4}})"));
  const Encoding numeric(spec.space), categorical(spec.space, true);
  CHECK(numeric.choices() == std::vector<int>{0});
  CHECK(categorical.choices() == std::vector<int>{4});
  Rng rng(1, 1);
  for (int i = 0; i < 4; ++i) {
    const Config config = {{"x", int64_t{1} << i}};
    CHECK(numeric.Encoded(config) == std::vector<double>{(i + .5) / 4});
    CHECK(categorical.Encoded(config) == std::vector<double>{static_cast<double>(i)});
    CHECK(numeric.Decoded(numeric.Encoded(config), rng) == config);
    CHECK(categorical.Decoded(categorical.Encoded(config), rng) == config);
  }
}

TEST_CASE("BOHB's bandwidth of an ordinal follows the study's `ordinals` and `categorical_bandwidth`") {
  std::deque<Config> configs;
  History history;
  history.rungs.resize(1);
  for (int64_t i = 0; i < 6; ++i) {
    configs.push_back({{"x", i % 2 == 0 ? int64_t{1} : int64_t{8}}, {"y", .1 * static_cast<double>(i)}});
    history.rungs[0].push_back({{i + 1}, &configs.back(), static_cast<double>(i)});
  }
  const auto bandwidth = [&](const std::string& keys) {
    const StudySpec spec = Spec(StudyText(absl::StrCat(
        R"({"space": {"x": {"ordinal": [1, 2, 4, 8]}, "y": {"low": 0, "high": 1}, "c": null, "z": null},
            "algorithm": {"type": "bohb", "random_fraction": 0)",
        keys, "}}")));
    Rng rng(1, 1);
    const auto detail = nlohmann::json::parse(MakeSampler(spec)->Propose(history, rng).detail_json);
    REQUIRE(detail["parameters"][0] == "x");
    CHECK(detail["n_good"] == 3);
    return detail["bandwidths_good"][0].get<double>();
  };
  const double rule_of_thumb = Kde::RuleOfThumb({.125, 0, .875, .1, .125, .2}, 2, 0);
  CHECK(bandwidth("") == Approx(rule_of_thumb));
  CHECK(bandwidth(R"(, "ordinals": "numeric")") == Approx(rule_of_thumb));
  CHECK(bandwidth(R"(, "ordinals": "categorical")") == Approx(3. / 7));  // (k-1)/(n+k)
  // The rule for numbers gives 1.2 for the places 0, 3, 0: above (k-1)/k.
  CHECK(bandwidth(R"(, "ordinals": "categorical", "categorical_bandwidth": "original")") == .75);
}

TEST_CASE("samplers with a model of good configs find them sooner than random ones") {
  for (const char* type : {"smac", "tpe", "dehb", "gp"}) {
    INFO(type);
    const StudySpec spec = Spec(StudyText(absl::StrCat(R"({"algorithm": {"type": ")", type, R"("}})")));
    const std::vector<Proposal> proposals = Asked(spec, *MakeSampler(spec), 70);
    double late = 0, early = 0;
    for (size_t i = 0; i < 10; ++i) early += Loss(proposals[i].config) / 10;
    for (size_t i = 40; i < 70; ++i) late += Loss(proposals[i].config) / 30;
    CHECK(late < early / 2);
    CHECK(proposals.back().source == Origin::Source::kModel);
  }
}

TEST_CASE("PriorBand starts around the default, and goes over to what is good") {
  const StudySpec spec = Spec(StudyText(R"({"algorithm": {"type": "priorband"},
      "space": {"x": {"low": 0, "high": 1, "default": 0.9}, "y": null, "c": null, "z": null}})"));
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  Drawn drawn(spec, 4);
  drawn.history.first_rung = 3;  // uniform: 1 in 28
  const auto mean = [&] {
    double sum = 0;
    for (uint64_t i = 1; i <= 200; ++i) {
      Rng rng(3, i);
      sum += X(sampler->Propose(drawn.history, rng).config) / 200;
    }
    return sum;
  };
  CHECK(mean() > .65);
  for (int i = 0; i < 20; ++i) drawn.Judge(3, [](const Config& c) { return std::abs(X(c) - .1); });
  CHECK(mean() < .45);
}

TEST_CASE("BOHB's model of a long study is one of a thousand rows, fitted to good and bad alike") {
  const StudySpec spec = Spec(StudyText(R"({"algorithm": {"type": "bohb", "random_fraction": 0}})"));
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  Drawn drawn(spec, 1);
  for (int i = 0; i < 8000; ++i) drawn.Judge(0, Loss);
  Rng rng(2, 1);
  const Proposal proposal = sampler->Propose(drawn.history, rng);
  const auto detail = nlohmann::json::parse(proposal.detail_json);
  CHECK(detail["points"] == 8000);
  CHECK(detail["n_good"] == 1000);
  CHECK(detail["n_bad"] == 1000);
  CHECK(Loss(proposal.config) < .1);
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
  for (const char* type : {"bohb", "gp", "smac", "tpe", "dehb", "sobol"}) {
    const StudySpec spec =
        Spec(StudyText(absl::StrCat(R"({"stop": {"trials": 20}, "algorithm": {"type": ")", type,
                                    R"("}, "space": {"x": 0.5, "y": 1, "c": "b", "z": null}})")));
    CHECK(Asked(spec, *MakeSampler(spec), 20).back().source == Origin::Source::kRandom);
  }
}

TEST_CASE("the Gaussian process looks where the good ones are, and says what it expected there") {
  const StudySpec spec = Spec(StudyText(R"({"algorithm": {"type": "gp", "random_fraction": 0}})"));
  const std::vector<Proposal> proposals = Asked(spec, *MakeSampler(spec), 50);
  double best = 1;
  for (const Proposal& proposal : proposals) best = std::min(best, Loss(proposal.config));
  CHECK(best < 1e-4);
  const auto detail = nlohmann::json::parse(proposals.back().detail_json);
  CHECK(proposals.back().source == Origin::Source::kModel);
  for (const char* key : {"points", "candidates", "score", "target", "mean", "sd"})
    CHECK(detail.contains(key));
}

TEST_CASE("the Gaussian process expects less where a config is being judged") {
  const StudySpec spec = OneNumber();
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  Drawn drawn(spec, 1);
  for (int i = 0; i < 4; ++i) drawn.Judge(0, [](const Config& c) { return std::sin(9 * X(c)); });
  Rng rng(3, 1);
  const Config asked = sampler->Propose(drawn.history, rng).config;
  const Encoding encoding(spec.space);
  const auto improvement = [&] {
    const auto model = GpModel::Of(encoding, drawn.history, GpModel::Sees::kAllRungs);
    return model->Improvement(Rows(encoding, {&asked}))[0];
  };
  const double before = improvement();
  drawn.history.configs.insert(ConfigHash(asked));
  drawn.history.pending.push_back({{100}, &asked, 0});
  CHECK(improvement() < before);
  const std::string detail = sampler->Propose(drawn.history, rng).detail_json;
  CHECK(nlohmann::json::parse(detail)["believed"] == 1);
}

TEST_CASE("where configs fail the Gaussian process proposes less, though what lives there is good") {
  const StudySpec spec = OneNumber();
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  Drawn drawn(spec, 1);
  for (int i = 0; i < 40; ++i) {
    drawn.Judge(0, [](const Config& c) {
      return X(c) > .5 ? std::numeric_limits<double>::infinity() : .5 - X(c) + .1 * std::sin(30 * X(c));
    });
  }
  int failing = 0;
  for (uint64_t i = 1; i <= 20; ++i) {
    Rng rng(3, i);
    failing += X(sampler->Propose(drawn.history, rng).config) > .55;
  }
  CHECK(failing <= 2);
}

TEST_CASE("lower rungs inform the Gaussian process about the top") {
  const StudySpec spec = OneNumber();
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  Drawn drawn(spec, 3);
  for (int i = 0; i < 30; ++i) drawn.Judge(0, [](const Config& c) { return (X(c) - .7) * (X(c) - .7); });
  Rng rng(3, 1);
  const Proposal proposal = sampler->Propose(drawn.history, rng);
  CHECK(std::abs(X(proposal.config) - .7) < .1);
}

TEST_CASE("all scores equal, or all failed, is no end for the Gaussian process") {
  for (const double loss : {0.25, std::numeric_limits<double>::infinity()}) {
    const StudySpec spec = OneNumber();
    Drawn drawn(spec, 2);
    for (int i = 0; i < 20; ++i) drawn.Judge(0, [&](const Config&) { return loss; });
    Rng rng(3, 1);
    CHECK(spec.space.Validate(MakeSampler(spec)->Propose(drawn.history, rng).config).ok());
  }
}

TEST_CASE("BOHB runs with the measured improvements unless the study says otherwise") {
  const Algorithm plain = Spec(StudyText()).algorithm;
  CHECK(plain.type == AlgorithmType::kBohb);
  CHECK_FALSE(plain.original_categorical_bandwidth);
  CHECK_FALSE(plain.ordinals_as_categorical);
  CHECK(plain.random_fraction == Approx(1. / 3));
  const Algorithm original =
      Spec(StudyText(R"({"algorithm": {"type": "bohb", "categorical_bandwidth": "original",
                                      "ordinals": "categorical"}})"))
          .algorithm;
  CHECK(original.original_categorical_bandwidth);
  CHECK(original.ordinals_as_categorical);
}

// One good config in seven has an active z, and it is the first: the others' z is taken from it.
TEST_CASE("BOHB fills inactive values in from configs that have them") {
  const StudySpec spec =
      Spec(StudyText(R"({"space": {"c": ["a", "b"], "z": {"low": 0, "high": 1, "if": "c = b"}},
                         "algorithm": {"type": "bohb", "random_fraction": 0, "min_points": 7}})"));
  std::deque<Config> configs;
  History history;
  history.rungs.resize(1);
  const auto judged = [&](Config config, double loss) {
    configs.push_back(std::move(config));
    history.rungs[0].push_back({{static_cast<int64_t>(configs.size())}, &configs.back(), loss});
    history.configs.insert(ConfigHash(configs.back()));
  };
  judged({{"c", std::string("b")}, {"z", .9}}, 0);
  for (int i = 1; i < 7; ++i) judged({{"c", std::string("a")}}, .01 * i);
  for (int i = 0; i < 7; ++i) judged({{"c", std::string("b")}, {"z", .02 + .16 * i}}, 1 + i);
  const auto sampler = MakeSampler(spec);
  int modelled = 0;
  for (uint64_t i = 0; i < 40; ++i) {
    Rng rng(3, i);
    const Proposal proposal = sampler->Propose(history, rng);
    if (proposal.source != Origin::Source::kModel || !proposal.config.contains("z")) continue;
    ++modelled;
    INFO(proposal.detail_json);
    CHECK(std::get<double>(proposal.config.at("z")) == Approx(.9).margin(.1));
  }
  CHECK(modelled >= 20);
}

}  // namespace
}  // namespace rung
