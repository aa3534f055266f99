// The tree-structured Parzen estimator: each parameter for itself is drawn where good results are dense and
// others are not (Bergstra, Bardenet, Bengio, Kegl 2011, "Algorithms for hyper-parameter optimization",
// section 4; the share of good ones as in Optuna). What is being judged counts as not good (constant liar).
#include "search/samplers/tpe.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

constexpr char kVersion[] = "tpe/1";
constexpr size_t kStart = 10;     // results of a rung before it has a model
constexpr size_t kMostGood = 25;  // and a tenth of the results
constexpr size_t kMostOthers = 500;
constexpr int kCandidates = 24;

class TpeSampler final : public Sampler {
 public:
  explicit TpeSampler(const Space& space) : space_(space), encoding_(space), fresh_(space) {}

  Proposal Propose(const History& history, Rng& rng) const override {
    constexpr int kTries = 20;
    size_t rung = history.rungs.size();
    while (rung > 0 && history.rungs[rung - 1].size() < kStart) --rung;
    if (rung == 0 || encoding_.dimensions() == 0) return RandomProposal(history, rng, "too_few_results");
    const std::vector<Observation>& results = history.rungs[--rung];
    const auto [good, others] = Split(results, history);
    std::vector<ParzenWindow> near, far;
    for (size_t j = 0; j < encoding_.dimensions(); ++j) {
      near.emplace_back(Column(good, j), encoding_.choices()[j]);
      far.emplace_back(Column(others, j), encoding_.choices()[j]);
    }
    for (int i = 0; i < kTries; ++i) {
      double score = 0;
      std::vector<double> point;
      for (size_t j = 0; j < encoding_.dimensions(); ++j)
        point.push_back(BestOf(near[j], far[j], rng, score));
      Config config = encoding_.Decoded(point, rng);
      if (space_.Forbidden(config) || history.configs.contains(ConfigHash(config))) continue;
      const nlohmann::json detail = {{"sampler", kVersion},
                                     {"rung", rung},
                                     {"points", results.size()},
                                     {"n_good", good.size()},
                                     {"n_bad", others.size()},
                                     {"believed", history.pending.size()},
                                     {"candidates", (i + 1) * kCandidates},
                                     {"score", score}};
      return {std::move(config), Origin::Source::kModel, static_cast<int>(rung), detail.dump()};
    }
    return RandomProposal(history, rng, "all_candidates_known");
  }

 private:
  using Rows = std::vector<std::vector<double>>;

  Proposal RandomProposal(const History& history, Rng& rng, const char* why) const {
    const nlohmann::json detail = {{"sampler", kVersion}, {"why", why}};
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, detail.dump()};
  }

  // The best tenth, and an even choice of the others.
  std::pair<Rows, Rows> Split(const std::vector<Observation>& results, const History& history) const {
    std::vector<const Observation*> sorted;
    for (const Observation& each : results) sorted.push_back(&each);
    const size_t count = std::min((results.size() + 9) / 10, kMostGood);
    const auto lower = [](const Observation* a, const Observation* b) {
      return a->loss != b->loss ? a->loss < b->loss : a->trial < b->trial;
    };
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(sorted.begin(), middle, sorted.end(), lower);
    const Observation* const last_good = sorted[count - 1];
    Rows good, others;
    for (size_t i = 0; i < count; ++i) good.push_back(encoding_.Encoded(*sorted[i]->config));
    std::vector<const Config*> rest;
    for (const Observation& each : results) {
      if (lower(last_good, &each)) rest.push_back(each.config);
    }
    const size_t kept = std::min(rest.size(), kMostOthers);
    for (size_t i = 0; i < kept; ++i) others.push_back(encoding_.Encoded(*rest[i * rest.size() / kept]));
    for (size_t i = 0; i < std::min(history.pending.size(), kMostOthers); ++i) {
      others.push_back(encoding_.Encoded(*history.pending[i].config));
    }
    return {std::move(good), std::move(others)};
  }

  // Values of the configs in which the parameter is active.
  static std::vector<double> Column(const Rows& rows, size_t j) {
    std::vector<double> column;
    for (const std::vector<double>& row : rows) {
      if (!std::isnan(row[j])) column.push_back(row[j]);
    }
    return column;
  }

  static double BestOf(const ParzenWindow& near, const ParzenWindow& far, Rng& rng, double& score) {
    double best = 0, best_score = -INFINITY;
    for (int i = 0; i < kCandidates; ++i) {
      const double value = near.Draw(rng);
      const double here = near.LogDensity(value) - far.LogDensity(value);
      if (!(here > best_score)) continue;
      best = value;
      best_score = here;
    }
    score += best_score;
    return best;
  }

  const Space& space_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
};

}  // namespace

ParzenWindow::ParzenWindow(std::vector<double> values, int choices) : choices_(choices) {
  const auto n = static_cast<double>(values.size());
  if (choices > 0) {
    // Each value is a kernel of its own, the prior one more, all smoothed by 1 / (n + 1).
    const double smoothing = 1 / (n + 1);
    shares_.assign(static_cast<size_t>(choices), 0);
    for (const double value : values) {
      for (size_t c = 0; c < shares_.size(); ++c) {
        const double kernel = (static_cast<double>(c) == value ? 1 : 0) + smoothing;
        shares_[c] += kernel / (1 + smoothing * choices);
      }
    }
    for (double& share : shares_) share = (share + 1.0 / choices) / (n + 1);
    return;
  }
  values.push_back(0.5);  // the prior
  std::sort(values.begin(), values.end());
  const size_t prior =
      static_cast<size_t>(std::lower_bound(values.begin(), values.end(), 0.5) - values.begin());
  const double narrowest = 1 / std::min(100.0, n + 2);
  constexpr double kRootTwoPi = 2.50662827463100050242;
  for (size_t i = 0; i < values.size(); ++i) {
    const double left = values[i] - (i == 0 ? 0 : values[i - 1]);
    const double right = (i + 1 == values.size() ? 1 : values[i + 1]) - values[i];
    const double width = i == prior ? 1 : std::clamp(std::max(left, right), narrowest, 1.0);
    const double inside = NormalCdf((1 - values[i]) / width) - NormalCdf(-values[i] / width);
    centres_.push_back(values[i]);
    widths_.push_back(width);
    log_scales_.push_back(-std::log(width * kRootTwoPi * inside * static_cast<double>(values.size())));
  }
}

double ParzenWindow::Draw(Rng& rng) const {
  if (choices_ == 0) {
    const auto i = static_cast<size_t>(rng.Below(static_cast<int64_t>(centres_.size())));
    return rng.TruncatedNormal(centres_[i], widths_[i], 0, 1);
  }
  double left = rng.Uniform();
  for (size_t c = 0; c + 1 < shares_.size(); ++c) {
    left -= shares_[c];
    if (left < 0) return static_cast<double>(c);
  }
  return static_cast<double>(shares_.size() - 1);
}

double ParzenWindow::LogDensity(double value) const {
  if (choices_ > 0) return std::log(shares_[static_cast<size_t>(value)]);
  double sum = 0;
  for (size_t i = 0; i < centres_.size(); ++i) {
    const double distance = (value - centres_[i]) / widths_[i];
    sum += std::exp(log_scales_[i] - 0.5 * distance * distance);
  }
  return std::log(sum);  // the prior keeps it above 0
}

std::unique_ptr<Sampler> MakeTpeSampler(const Space& space) {
  return std::make_unique<TpeSampler>(space);
}

}  // namespace rung
