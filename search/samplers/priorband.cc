// PriorBand for any scheduler: a new config is uniform, drawn from the prior, or a neighbour of the
// incumbent; the higher the rung it starts at, the less often uniform, and the incumbent gains on the prior
// as far as good results are likelier around it (Mallik et al. 2023, "PriorBand", section 5 and appendix E).
#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "priorband/1";
constexpr double kSpread = 0.25;   // of numbers around the default or the incumbent
constexpr double kMutation = 0.5;  // of each parameter of the incumbent

class PriorBandSampler final : public Sampler {
 public:
  PriorBandSampler(const Space& space, double eta)
      : space_(space),
        eta_(eta),
        encoding_(space),
        fresh_(space),
        centre_(encoding_.Filled(space.Default())) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    const Shares shares = SharesOf(history);
    const double pick = rng.Uniform();
    const bool uniform = pick < shares.uniform, prior = !uniform && pick < shares.uniform + shares.prior;
    nlohmann::json detail = {{"sampler", kVersion},
                             {"rung", history.first_rung},
                             {"shares", {shares.uniform, shares.prior, shares.incumbent}},
                             {"drawn", uniform ? "uniform"
                                       : prior ? "prior"
                                               : "incumbent"}};
    if (!uniform && !prior) detail["incumbent"] = shares.best->trial.value;
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
      Config config = encoding_.Decoded(uniform ? Uniform(rng)
                                        : prior ? FromPrior(rng)
                                                : Mutated(encoding_.Encoded(*shares.best->config), rng),
                                        rng);
      if (space_.Forbidden(config) || history.configs.contains(ConfigHash(config))) continue;
      const auto source = uniform ? Origin::Source::kRandom : Origin::Source::kModel;
      return {std::move(config), source, uniform ? -1 : history.first_rung, detail.dump()};
    }
    detail["why"] = "all_candidates_known";
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

 private:
  struct Shares {
    double uniform = 1, prior = 0, incumbent = 0;
    const Observation* best = nullptr;
  };

  // p_uniform = 1 / (1 + eta^r); what is left is split between prior and incumbent by how likely they make
  // the best results of the highest rung that has eta of them, weighted by rank.
  Shares SharesOf(const History& history) const {
    Shares shares;
    shares.uniform = 1 / (1 + std::pow(eta_, history.first_rung));
    shares.prior = 1 - shares.uniform;
    const auto enough = static_cast<size_t>(std::max(2.0, std::ceil(eta_)));
    const std::vector<const Observation*> best = Best(history, enough);
    if (best.size() < enough) return shares;
    shares.best = best.front();
    const std::vector<double> incumbent = encoding_.Filled(*shares.best->config);
    double from_prior = 0, from_incumbent = 0;
    for (size_t i = 0; i < best.size(); ++i) {
      const std::vector<double> point = encoding_.Filled(*best[i]->config);
      const auto weight = static_cast<double>(best.size() - i);
      from_prior += weight * Likelihood(point, centre_);
      from_incumbent += weight * Likelihood(point, incumbent);
    }
    shares.incumbent = shares.prior * from_incumbent / (from_prior + from_incumbent);
    shares.prior -= shares.incumbent;
    return shares;
  }

  static std::vector<const Observation*> Best(const History& history, size_t count) {
    for (size_t rung = history.rungs.size(); rung-- > 0;) {
      std::vector<const Observation*> finite;
      for (const Observation& each : history.rungs[rung]) {
        if (std::isfinite(each.loss)) finite.push_back(&each);
      }
      if (finite.size() < count) continue;
      const auto end = finite.begin() + static_cast<std::ptrdiff_t>(count);
      std::partial_sort(finite.begin(), end, finite.end(), [](const Observation* a, const Observation* b) {
        return a->loss != b->loss ? a->loss < b->loss : a->trial < b->trial;
      });
      return {finite.begin(), end};
    }
    return {};
  }

  // Of numbers a truncated normal around the centre, of categories the centre's with half the weight.
  double Likelihood(const std::vector<double>& point, const std::vector<double>& centre) const {
    double likelihood = 1;
    for (size_t j = 0; j < point.size(); ++j) {
      if (const int choices = encoding_.choices()[j]; choices > 0) {
        likelihood *= point[j] == centre[j] ? 0.5 : 0.5 / (choices - 1);
        continue;
      }
      const double distance = (point[j] - centre[j]) / kSpread;
      const double inside = NormalCdf((1 - centre[j]) / kSpread) - NormalCdf(-centre[j] / kSpread);
      likelihood *= std::exp(-0.5 * distance * distance) / (kSpread * 2.50662827463100050242 * inside);
    }
    return likelihood;
  }

  double Near(double centre, size_t j, Rng& rng) const {
    const int choices = encoding_.choices()[j];
    if (choices == 0) return rng.TruncatedNormal(centre, kSpread, 0, 1);
    if (rng.Uniform() < 0.5) return centre;
    const auto other = static_cast<double>(rng.Below(choices - 1));
    return other < centre ? other : other + 1;
  }

  std::vector<double> Uniform(Rng& rng) const {
    std::vector<double> point;
    for (const int choices : encoding_.choices()) {
      point.push_back(choices == 0 ? rng.Uniform() : static_cast<double>(rng.Below(choices)));
    }
    return point;
  }

  // A parameter's own prior where the space has one, else around its default.
  std::vector<double> FromPrior(Rng& rng) const {
    std::vector<double> point;
    for (size_t j = 0; j < encoding_.dimensions(); ++j) {
      const Parameter& parameter = encoding_.parameter(j);
      const bool own = HasPrior(parameter);
      point.push_back(own ? std::nan("") : Near(centre_[j], j, rng));
    }
    return point;
  }

  // NaN stays: what becomes active is drawn.
  std::vector<double> Mutated(std::vector<double> point, Rng& rng) const {
    for (size_t j = 0; j < point.size(); ++j) {
      if (!std::isnan(point[j]) && rng.Uniform() < kMutation) point[j] = Near(point[j], j, rng);
    }
    return point;
  }

  const Space& space_;
  const double eta_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
  const std::vector<double> centre_;  // the default config: the belief where the space states none
};

}  // namespace

std::unique_ptr<Sampler> MakePriorBandSampler(const Space& space, double eta) {
  return std::make_unique<PriorBandSampler>(space, eta);
}

}  // namespace rung
