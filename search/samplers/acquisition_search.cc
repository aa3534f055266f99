#include "search/samplers/acquisition_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rung {
namespace {

constexpr int kRandom = 150, kNeighbours = 150, kBases = 8;
constexpr int kRounds = 5, kClimbers = 3, kSteps = 20;
constexpr double kFar = 0.1, kNear = 0.02;
constexpr size_t kListed = 500;  // finite spaces up to this size are looked at as a whole

struct Candidate {
  Config config;
  double value = 0;
};

class Search {
 public:
  Search(const AcquisitionSearch& search, const History& history, Rng& rng)
      : search_(search),
        space_(search.space),
        encoding_(search.encoding),
        listed_(!search.fresh.listed().empty() && search.fresh.listed().size() <= kListed),
        history_(history),
        rng_(rng) {}

  std::optional<Suggestion> Run() {
    std::vector<Candidate> candidates = Start();
    std::vector<Candidate> climbers = Best(candidates, kClimbers);
    double sd = kFar;
    for (int round = 0; round < kRounds && !listed_; ++round, sd /= 2) Climb(climbers, sd);
    std::stable_sort(climbers.begin(), climbers.end(), Larger);
    for (const std::vector<Candidate>* from : {&climbers, &candidates}) {
      for (const Candidate& candidate : *from) {
        if (New(candidate.config)) return Suggestion{candidate.config, candidate.value, looked_at_};
      }
    }
    return Beside(climbers);
  }

 private:
  static bool Larger(const Candidate& a, const Candidate& b) { return a.value > b.value; }
  bool New(const Config& config) const { return !history_.configs.contains(ConfigHash(config)); }

  // Legal candidates with their values.
  std::vector<Candidate> Valued(std::vector<Config> configs) {
    std::erase_if(configs, [&](const Config& config) { return space_.Forbidden(config); });
    looked_at_ += static_cast<int>(configs.size());
    std::vector<const Config*> each;
    for (const Config& config : configs) each.push_back(&config);
    if (each.empty()) return {};
    const Eigen::VectorXd values = search_.value(Rows(encoding_, each));
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < configs.size(); ++i) {
      candidates.push_back({std::move(configs[i]), values[static_cast<Eigen::Index>(i)]});
    }
    return candidates;
  }

  std::vector<Candidate> Start() {
    std::vector<Config> configs;
    if (listed_) {
      configs = search_.fresh.listed();
      std::erase_if(configs, [&](const Config& config) { return !New(config); });
    } else {
      for (int i = 0; i < kRandom; ++i) configs.push_back(space_.Sample(rng_));
      const auto bases = std::min<int64_t>(kBases, static_cast<int64_t>(search_.bases.size()));
      for (int i = 0; i < kNeighbours && bases > 0; ++i) {
        const Config& base = *search_.bases[static_cast<size_t>(rng_.Below(bases))];
        configs.push_back(Neighbour(base, rng_.Uniform() < 0.5 ? kFar : kNear));
      }
    }
    std::vector<Candidate> candidates = Valued(std::move(configs));
    std::stable_sort(candidates.begin(), candidates.end(), Larger);
    return candidates;
  }

  static std::vector<Candidate> Best(const std::vector<Candidate>& sorted, int count) {
    const auto end = sorted.begin() + std::min<std::ptrdiff_t>(count, std::ssize(sorted));
    return {sorted.begin(), end};
  }

  void Climb(std::vector<Candidate>& climbers, double sd) {
    std::vector<Config> steps;
    std::vector<size_t> of;
    for (size_t c = 0; c < climbers.size(); ++c) {
      for (int i = 0; i < kSteps; ++i) {
        Config config = Neighbour(climbers[c].config, sd);
        if (space_.Forbidden(config)) continue;
        steps.push_back(std::move(config));
        of.push_back(c);
      }
    }
    std::vector<Candidate> tried = Valued(std::move(steps));
    for (size_t i = 0; i < tried.size(); ++i) {
      if (tried[i].value > climbers[of[i]].value && New(tried[i].config))
        climbers[of[i]] = std::move(tried[i]);
    }
  }

  // One to three active parameters changed, or (one time in five) all of them.
  Config Neighbour(const Config& base, double sd) {
    std::vector<size_t> active;
    for (size_t j = 0; j < encoding_.dimensions(); ++j) {
      if (base.contains(encoding_.parameter(j).name)) active.push_back(j);
    }
    Config config = base;
    if (active.empty()) return config;
    const auto count = static_cast<int64_t>(active.size());
    const int64_t few = 1 + rng_.Below(std::min<int64_t>(count, 3));
    const bool all = rng_.Uniform() < 0.2;
    for (int64_t i = 0; i < (all ? count : few); ++i) {
      const size_t j = active[static_cast<size_t>(all ? i : rng_.Below(count))];
      Value& value = config[encoding_.parameter(j).name];
      if (encoding_.choices()[j] == 0) {
        value = Moved(encoding_.parameter(j), value, sd);
      } else if (!all || rng_.Uniform() < 0.2) {
        value = encoding_.parameter(j).choices[static_cast<size_t>(rng_.Below(encoding_.choices()[j]))];
      }
    }
    return space_.Completed(std::move(config), rng_);
  }

  // Past a bound: half the time the bound itself, else mirrored. A discrete value moves by one place at
  // least.
  Value Moved(const Parameter& parameter, const Value& value, double sd) {
    double step = sd * rng_.Normal();
    if (const std::optional<int64_t> places = parameter.Cardinality(); places.has_value() && !parameter.log) {
      const double place = 1 / static_cast<double>(*places);
      if (std::abs(step) < place) step = step < 0 ? -place : place;
    }
    double unit = parameter.ToUnit(value) + step;
    if (unit < 0) unit = rng_.Uniform() < 0.5 ? 0 : -unit;
    if (unit > 1) unit = rng_.Uniform() < 0.5 ? 1 : 2 - unit;
    return parameter.FromUnit(std::clamp(unit, 0.0, 1.0));
  }

  // All candidates are known: something new close to the best of them.
  std::optional<Suggestion> Beside(const std::vector<Candidate>& climbers) {
    constexpr int kTries = 20;
    for (int i = 0; i < kTries && !climbers.empty(); ++i) {
      Config config = Neighbour(climbers.front().config, 0.05);
      if (New(config) && !space_.Forbidden(config)) {
        return Suggestion{std::move(config), climbers.front().value, looked_at_};
      }
    }
    return std::nullopt;
  }

  const AcquisitionSearch& search_;
  const Space& space_;
  const Encoding& encoding_;
  const bool listed_;  // all configs are candidates
  const History& history_;
  Rng& rng_;
  int looked_at_ = 0;
};

}  // namespace

Eigen::MatrixXd Rows(const Encoding& encoding, const std::vector<const Config*>& configs) {
  Eigen::MatrixXd rows(static_cast<Eigen::Index>(configs.size()),
                       static_cast<Eigen::Index>(encoding.dimensions()));
  for (Eigen::Index i = 0; i < rows.rows(); ++i) {
    const std::vector<double> point = encoding.Filled(*configs[static_cast<size_t>(i)]);
    for (Eigen::Index j = 0; j < rows.cols(); ++j) rows(i, j) = point[static_cast<size_t>(j)];
  }
  return rows;
}

std::optional<Suggestion> Suggest(const AcquisitionSearch& search, const History& history, Rng& rng) {
  return Search(search, history, rng).Run();
}

}  // namespace rung
