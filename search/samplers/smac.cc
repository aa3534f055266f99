// Expected improvement under a random forest, for any scheduler (SMAC: Hutter, Hoos, Leyton-Brown 2011,
// "Sequential model-based optimization for general algorithm configuration"; on several rungs as SMAC3 does:
// the highest rung with enough results has the model). Failed configs count as bad as the worst. What is
// being judged is answered by its mean.
#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "search/samplers/acquisition_search.h"
#include "search/samplers/forest.h"
#include "search/samplers/gaussian_process.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "smac/1";
constexpr size_t kMostResults = 500;
constexpr size_t kMostPending = 64;
constexpr double kSmallestVariance = 1e-10;

class SmacSampler final : public Sampler {
 public:
  SmacSampler(const Space& space, const Algorithm& algorithm)
      : space_(space), algorithm_(algorithm), encoding_(space), fresh_(space) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    if (rng.Uniform() < algorithm_.random_fraction) return RandomProposal(history, rng, "random_fraction");
    const size_t enough = std::max<size_t>(encoding_.dimensions() + 1, 4);
    size_t rung = history.rungs.size();
    while (rung > 0 && history.rungs[rung - 1].size() < enough) --rung;
    if (rung == 0 || encoding_.dimensions() == 0) return RandomProposal(history, rng, "too_few_results");
    const std::vector<Observation> results = Kept(history.rungs[--rung]);
    if (!std::isfinite(results.front().loss)) return RandomProposal(history, rng, "nothing_to_model");

    std::vector<const Config*> configs;
    for (const Observation& each : results) configs.push_back(each.config);
    Eigen::MatrixXd x = Rows(encoding_, configs);
    Eigen::VectorXd y = Losses(results);
    Forest forest(x, y, encoding_.choices(), {}, rng);
    const size_t believed = std::min(history.pending.size(), kMostPending);
    if (believed > 0) {
      std::vector<const Config*> pending;
      for (size_t i = 0; i < believed; ++i) pending.push_back(history.pending[i].config);
      const Eigen::MatrixXd rows = Rows(encoding_, pending);
      const Eigen::Index n = y.size();
      x.conservativeResize(n + rows.rows(), Eigen::NoChange);
      y.conservativeResize(n + rows.rows());
      x.bottomRows(rows.rows()) = rows;
      for (Eigen::Index i = 0; i < rows.rows(); ++i) y[n + i] = forest.At(rows, i).mean;
      forest = Forest(x, y, encoding_.choices(), {}, rng);
    }
    const double target = results.front().loss;
    const auto value = [&](const Eigen::MatrixXd& points) {
      Eigen::VectorXd improvement(points.rows());
      for (Eigen::Index i = 0; i < points.rows(); ++i) {
        const Forest::Prediction expected = forest.At(points, i);
        improvement[i] =
            ExpectedImprovement(target, expected.mean, std::max(expected.variance, kSmallestVariance));
      }
      return improvement;
    };
    std::optional<Suggestion> suggestion = Suggest({space_, encoding_, fresh_, configs, value}, history, rng);
    if (!suggestion.has_value()) return RandomProposal(history, rng, "all_candidates_known");
    const nlohmann::json detail = {{"sampler", kVersion},       {"rung", rung},
                                   {"points", results.size()},  {"believed", believed},
                                   {"target", target},          {"candidates", suggestion->candidates},
                                   {"score", suggestion->value}};
    return {std::move(suggestion->config), Origin::Source::kModel, static_cast<int>(rung), detail.dump()};
  }

 private:
  Proposal RandomProposal(const History& history, Rng& rng, const char* why) const {
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

  // The best first; of many the better half of the model and the newest of the rest.
  static std::vector<Observation> Kept(std::vector<Observation> results) {
    const auto lower = [](const Observation& a, const Observation& b) {
      return a.loss != b.loss ? a.loss < b.loss : a.trial < b.trial;
    };
    const size_t best = results.size() <= kMostResults ? results.size() : kMostResults / 2;
    const auto middle = results.begin() + static_cast<std::ptrdiff_t>(best);
    std::partial_sort(results.begin(), middle, results.end(), lower);
    const size_t rest = std::min(results.size(), kMostResults) - best;
    const auto end = middle + static_cast<std::ptrdiff_t>(rest);
    std::partial_sort(middle, end, results.end(),
                      [](const Observation& a, const Observation& b) { return a.trial > b.trial; });
    results.erase(end, results.end());
    return results;
  }

  static Eigen::VectorXd Losses(const std::vector<Observation>& results) {
    double worst = results.front().loss;
    for (const Observation& each : results) {
      if (std::isfinite(each.loss)) worst = std::max(worst, each.loss);
    }
    Eigen::VectorXd y(static_cast<Eigen::Index>(results.size()));
    for (size_t i = 0; i < results.size(); ++i) {
      y[static_cast<Eigen::Index>(i)] = std::isfinite(results[i].loss) ? results[i].loss : worst;
    }
    return y;
  }

  const Space& space_;
  const Algorithm& algorithm_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
};

}  // namespace

std::unique_ptr<Sampler> MakeSmacSampler(const Space& space, const Algorithm& algorithm) {
  return std::make_unique<SmacSampler>(space, algorithm);
}

}  // namespace rung
