// BOHB's model: densities of good and bad configs at the highest rung that has enough results (Falkner et al.
// 2018, Alg. 2). Differences from the authors' program, each measured or a fault of theirs: docs/design.md,
// "Search".
#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "search/samplers/encoding.h"
#include "search/samplers/kde.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "bohb/1";
constexpr double kSmallestDensity = 1e-32;
constexpr size_t kMostRows = 1000;  // of a density

using Observations = std::vector<const Observation*>;

struct Model {
  int rung = 0;
  size_t points = 0;
  Kde good;
  Kde bad;
};

class BohbSampler final : public Sampler {
 public:
  BohbSampler(const Space& space, const Algorithm& algorithm)
      : space_(space),
        algorithm_(algorithm),
        encoding_(space, algorithm.ordinals_as_categorical),
        choices_(encoding_.choices()),
        fresh_(space) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    if (rng.Uniform() < algorithm_.random_fraction) return RandomProposal(history, rng, "random_fraction");
    const std::optional<Model> model = Fitted(history, rng);
    if (!model.has_value()) return RandomProposal(history, rng, "too_few_results");
    return ModelProposal(*model, history, rng);
  }

 private:
  struct Candidate {
    int index = 0;
    Config config;
    double good = 0;
    double bad = 0;
    double ratio = 0;  // bad over good: small is promising
  };

  Proposal RandomProposal(const History& history, Rng& rng, const char* why) const {
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

  size_t MinPoints() const {
    return std::max(choices_.size() + 1, static_cast<size_t>(algorithm_.min_points));
  }

  // The highest rung with enough results for both densities, or nullopt.
  std::optional<Model> Fitted(const History& history, Rng& rng) const {
    if (choices_.empty()) return std::nullopt;
    for (size_t rung = history.rungs.size(); rung-- > 0;) {
      const std::vector<Observation>& all = history.rungs[rung];
      const double count = static_cast<double>(all.size());
      const size_t good = std::max(MinPoints(), static_cast<size_t>(algorithm_.top_percent * count / 100));
      const size_t bad =
          std::max(MinPoints(), static_cast<size_t>((100 - algorithm_.top_percent) * count / 100));
      if (all.size() < good + MinPoints()) continue;
      const auto [good_ones, bad_ones] = Split(all, good, bad);
      const Kde::Options options{algorithm_.min_bandwidth, algorithm_.original_categorical_bandwidth};
      std::vector<double> good_rows = Imputed(Encoded(good_ones), rng);
      std::vector<double> bad_rows = Imputed(Encoded(bad_ones), rng);
      return Model{static_cast<int>(rung), all.size(), Kde(std::move(good_rows), choices_, options),
                   Kde(std::move(bad_rows), choices_, options)};
    }
    return std::nullopt;
  }

  // The best `good` and the `bad` after them, best first. Of more than kMostRows each it is an even choice,
  // in the order in which they came: the cost of a proposal does not grow with the study.
  static std::pair<Observations, Observations> Split(const std::vector<Observation>& all, size_t good,
                                                     size_t bad) {
    const auto lower = [](const Observation* a, const Observation* b) {
      return a->loss != b->loss ? a->loss < b->loss : a->trial < b->trial;
    };
    Observations sorted;
    sorted.reserve(all.size());
    for (const Observation& observation : all) sorted.push_back(&observation);
    const size_t end = std::min(good + bad, sorted.size());
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(good);
    const auto last = sorted.begin() + static_cast<std::ptrdiff_t>(end);
    if (good <= kMostRows && end - good <= kMostRows) {
      std::partial_sort(sorted.begin(), last, sorted.end(), lower);
      return {{sorted.begin(), middle}, {middle, last}};
    }
    std::nth_element(sorted.begin(), middle, sorted.end(), lower);
    const Observation* const first_bad = *middle;
    Observations good_ones, bad_ones;
    for (const Observation& each : all) (lower(&each, first_bad) ? good_ones : bad_ones).push_back(&each);
    return {EvenlyChosen(good_ones), EvenlyChosen(bad_ones)};
  }

  static Observations EvenlyChosen(const Observations& from) {
    if (from.size() <= kMostRows) return from;
    Observations chosen;
    for (size_t i = 0; i < kMostRows; ++i) chosen.push_back(from[i * from.size() / kMostRows]);
    return chosen;
  }

  // Rows of dimensions; NaN where the parameter is inactive.
  std::vector<double> Encoded(const Observations& observations) const {
    std::vector<double> rows;
    rows.reserve(observations.size() * choices_.size());
    for (const Observation* observation : observations) {
      const std::vector<double> row = encoding_.Encoded(*observation->config);
      rows.insert(rows.end(), row.begin(), row.end());
    }
    return rows;
  }

  // Inactive values: all of a row's from a random row that has the first of them, again until none is left;
  // where no row has it, uniform.
  std::vector<double> Imputed(const std::vector<double>& rows, Rng& rng) const {
    const size_t d = choices_.size();
    std::vector<std::vector<size_t>> finite(d);
    for (size_t at = 0; at < rows.size(); ++at) {
      if (!std::isnan(rows[at])) finite[at % d].push_back(at - at % d);
    }
    std::vector<double> imputed = rows;
    for (size_t at = 0; at < imputed.size(); ++at) {
      if (!std::isnan(imputed[at])) continue;
      const size_t row = at - at % d;
      const std::vector<size_t>& donors = finite[at % d];
      if (donors.empty()) {
        const int choices = choices_[at % d];
        imputed[at] = choices == 0 ? rng.Uniform() : static_cast<double>(rng.Below(choices));
        continue;
      }
      const size_t donor = donors[static_cast<size_t>(rng.Below(static_cast<int64_t>(donors.size())))];
      for (size_t j = 0; j < d; ++j) {
        if (std::isnan(imputed[row + j])) imputed[row + j] = rows[donor + j];
      }
    }
    return imputed;
  }

  // A point near a random good one: numbers from a truncated normal of bandwidth_factor bandwidths,
  // categories kept with probability 1 - h, else any.
  std::vector<double> Perturbed(const Kde& good, Rng& rng) const {
    const auto row = static_cast<int>(rng.Below(good.rows()));
    std::vector<double> point;
    for (size_t j = 0; j < choices_.size(); ++j) {
      const double centre = good.value(row, static_cast<int>(j));
      const double h = good.bandwidths()[j];
      if (choices_[j] == 0) {
        point.push_back(rng.TruncatedNormal(centre, algorithm_.bandwidth_factor * h, 0, 1));
      } else {
        point.push_back(rng.Uniform() < 1 - h ? centre : static_cast<double>(rng.Below(choices_[j])));
      }
    }
    return point;
  }

  Proposal ModelProposal(const Model& model, const History& history, Rng& rng) const {
    constexpr int kRounds = 8;
    int drawn = 0;
    for (int round = 0; round < kRounds; ++round) {
      std::optional<Candidate> best;
      for (int i = 0; i < algorithm_.candidates; ++i) {
        Candidate candidate;
        candidate.index = drawn++;
        std::vector<double> point = Perturbed(model.good, rng);
        candidate.config = encoding_.Decoded(point, rng);
        // Active dimensions move to the values that the config really has.
        const std::vector<double> real = encoding_.Encoded(candidate.config);
        for (size_t j = 0; j < point.size(); ++j) {
          if (!std::isnan(real[j])) point[j] = real[j];
        }
        candidate.good = model.good.Density(point);
        candidate.bad = model.bad.Density(point);
        candidate.ratio =
            std::max(kSmallestDensity, candidate.bad) / std::max(candidate.good, kSmallestDensity);
        if (best.has_value() && !(candidate.ratio < best->ratio)) continue;
        if (space_.Forbidden(candidate.config) || history.configs.contains(ConfigHash(candidate.config)))
          continue;
        best = std::move(candidate);
      }
      if (best.has_value()) return Chosen(model, *std::move(best), drawn);
    }
    return RandomProposal(history, rng, "all_candidates_known");
  }

  Proposal Chosen(const Model& model, Candidate candidate, int drawn) const {
    nlohmann::json parameters = nlohmann::json::array();
    for (size_t j = 0; j < choices_.size(); ++j) parameters.push_back(encoding_.parameter(j).name);
    const nlohmann::json detail = {{"sampler", kVersion},
                                   {"rung", model.rung},
                                   {"points", model.points},
                                   {"n_good", model.good.rows()},
                                   {"n_bad", model.bad.rows()},
                                   {"parameters", parameters},
                                   {"bandwidths_good", model.good.bandwidths()},
                                   {"bandwidths_bad", model.bad.bandwidths()},
                                   {"candidates", drawn},
                                   {"chosen", candidate.index},
                                   {"density_good", candidate.good},
                                   {"density_bad", candidate.bad},
                                   {"score", 1 / candidate.ratio}};
    return {std::move(candidate.config), Origin::Source::kModel, model.rung, detail.dump()};
  }

  const Space& space_;
  const Algorithm& algorithm_;
  const Encoding encoding_;
  const std::vector<int>& choices_;  // 0: continuous kernel
  const FreshConfigs fresh_;
};

}  // namespace

std::unique_ptr<Sampler> MakeBohbSampler(const Space& space, const Algorithm& algorithm) {
  return std::make_unique<BohbSampler>(space, algorithm);
}

}  // namespace rung
