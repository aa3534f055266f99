#include "search/samplers/forest.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"

namespace rung {

using Eigen::Index;

struct Forest::Growth {
  const Eigen::MatrixXd& x;
  const Eigen::VectorXd& y;
  const std::vector<int>& choices;
  const Options& options;
};

namespace {

struct Moments {
  double sum = 0, squares = 0;
  double count = 0;
  void Add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double SquaredError() const { return count > 0 ? squares - sum * sum / count : 0; }
};

struct Split {
  Index dimension = 0;
  double threshold = 0;
  std::vector<bool> left_choices;
  double error = 0;
};

// Values of a key in ascending order, cut where the squared error of both sides is least; nullopt if all are
// equal. The threshold is drawn between the two values next to the cut.
std::optional<std::pair<double, double>> BestCut(std::vector<std::pair<double, double>>& keyed, Rng& rng) {
  std::sort(keyed.begin(), keyed.end());
  Moments left, right;
  for (const auto& [key, value] : keyed) right.Add(value);
  std::optional<std::pair<double, double>> best;  // threshold, error
  double low = 0, high = 0;
  for (size_t i = 0; i + 1 < keyed.size(); ++i) {
    const double value = keyed[i].second;
    left.Add(value);
    right.sum -= value;
    right.squares -= value * value;
    --right.count;
    if (keyed[i].first == keyed[i + 1].first) continue;
    const double error = left.SquaredError() + right.SquaredError();
    if (best.has_value() && error >= best->second) continue;
    low = keyed[i].first;
    high = keyed[i + 1].first;
    best = {low, error};
  }
  if (best.has_value()) best->first = low + (high - low) * rng.Uniform();
  return best;
}

}  // namespace

int Forest::Grow(const Growth& growth, std::vector<Index> rows, Tree& tree, Rng& rng) {
  const auto at = static_cast<int>(tree.size());
  tree.emplace_back();
  Moments moments;
  for (const Index row : rows) moments.Add(growth.y[row]);
  tree.back().mean = moments.sum / moments.count;
  tree.back().variance = std::max(0.0, moments.SquaredError() / moments.count);
  if (static_cast<int>(rows.size()) < growth.options.smallest_split || tree.back().variance <= 0) return at;

  std::vector<Index> dimensions(growth.choices.size());
  std::iota(dimensions.begin(), dimensions.end(), 0);
  const auto share = growth.options.feature_share * static_cast<double>(dimensions.size());
  const auto looked_at = std::max<size_t>(1, static_cast<size_t>(std::ceil(share)));
  std::optional<Split> best;
  for (size_t k = 0; k < looked_at; ++k) {
    const auto left = static_cast<int64_t>(dimensions.size() - k);
    std::swap(dimensions[k], dimensions[k + static_cast<size_t>(rng.Below(left))]);
    const Index j = dimensions[k];
    const int choices = growth.choices[static_cast<size_t>(j)];
    // Categories stand in the order of their means: then the best of all subsets is a cut (Breiman et al.
    // 1984).
    std::vector<Moments> by_choice(static_cast<size_t>(choices));
    if (choices > 0) {
      for (const Index row : rows) by_choice[static_cast<size_t>(growth.x(row, j))].Add(growth.y[row]);
    }
    const auto key = [&](double value) {
      if (choices == 0) return value;
      const Moments& here = by_choice[static_cast<size_t>(value)];
      return here.sum / here.count;
    };
    std::vector<std::pair<double, double>> keyed;
    keyed.reserve(rows.size());
    for (const Index row : rows) keyed.emplace_back(key(growth.x(row, j)), growth.y[row]);
    const auto cut = BestCut(keyed, rng);
    if (!cut.has_value() || (best.has_value() && cut->second >= best->error)) continue;
    best = Split{j, cut->first, {}, cut->second};
    for (int c = 0; c < choices; ++c) {
      // Categories that no result here has go either way.
      const bool known = by_choice[static_cast<size_t>(c)].count > 0;
      best->left_choices.push_back(known ? key(c) <= cut->first : rng.Uniform() < 0.5);
    }
  }
  if (!best.has_value()) return at;
  std::vector<Index> left, right;
  for (const Index row : rows) {
    const double value = growth.x(row, best->dimension);
    const bool goes_left = best->left_choices.empty() ? value <= best->threshold
                                                      : best->left_choices[static_cast<size_t>(value)];
    (goes_left ? left : right).push_back(row);
  }
  if (left.empty() || right.empty()) return at;  // the threshold was drawn onto a value
  const int left_node = Grow(growth, std::move(left), tree, rng);
  const int right_node = Grow(growth, std::move(right), tree, rng);
  Node& node = tree[static_cast<size_t>(at)];
  node.dimension = static_cast<int>(best->dimension);
  node.threshold = best->threshold;
  node.left_choices = std::move(best->left_choices);
  node.left = left_node;
  node.right = right_node;
  return at;
}

Forest::Forest(const Eigen::MatrixXd& x, const Eigen::VectorXd& y, const std::vector<int>& choices,
               const Options& options, Rng& rng) {
  RUNG_CHECK(y.size() >= 1 && x.rows() == y.size(), "results");
  const Growth growth{x, y, choices, options};
  for (int i = 0; i < options.trees; ++i) {
    std::vector<Index> rows;
    for (Index row = 0; row < y.size(); ++row) rows.push_back(options.bootstrap ? rng.Below(y.size()) : row);
    Grow(growth, std::move(rows), trees_.emplace_back(), rng);
  }
}

Forest::Prediction Forest::At(const Eigen::MatrixXd& points, Index row) const {
  Moments means;
  double within = 0;
  for (const Tree& tree : trees_) {
    const Node* node = &tree.front();
    while (node->dimension >= 0) {
      const double value = points(row, node->dimension);
      const bool left = node->left_choices.empty() ? value <= node->threshold
                                                   : node->left_choices[static_cast<size_t>(value)];
      node = &tree[static_cast<size_t>(left ? node->left : node->right)];
    }
    means.Add(node->mean);
    within += node->variance;
  }
  return {means.sum / means.count, std::max(0.0, means.SquaredError() / means.count) + within / means.count};
}

}  // namespace rung
