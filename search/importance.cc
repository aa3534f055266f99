#include "search/importance.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <Eigen/Dense>

#include "search/samplers/encoding.h"
#include "search/samplers/forest.h"

namespace rung {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr size_t kMostTrees = 64;
constexpr size_t kFewestTrees = 4;
// Trees x results x parameters: what growing them costs, but for a logarithm.
constexpr size_t kMostWork = kMostTrees * kMostImportanceResults * 32;
// Of a tree of values in [-1, 1]: what rounding leaves.
constexpr double kNoVariance = 1e-20;

// Where a cut at a threshold on [0, 1] divides the parameter: discrete values have equal cells around them
// (Parameter::ToUnit), and the forest's threshold lies anywhere between two values.
double Edge(const Parameter& parameter, double threshold) {
  const std::optional<int64_t> count = parameter.Cardinality();
  if (!count.has_value()) return threshold;
  if (!parameter.log) {
    const auto cells = static_cast<double>(*count);
    return std::floor(threshold * cells + 0.5) / cells;
  }
  auto below = std::get<int64_t>(parameter.FromUnit(threshold));
  if (parameter.ToUnit(below) > threshold) --below;
  return parameter.ToUnit(static_cast<double>(below) + 0.5);
}

// A tree as a partition of the space. An axis is a dimension that the tree splits, divided into cells by all
// of its cuts there, or the categories; a leaf is a box of cells.
class Partition {
 public:
  Partition(const Encoding& encoding, const Forest::Tree& tree);

  size_t axes() const { return axes_.size(); }
  size_t dimension(size_t axis) const { return axes_[axis].dimension; }

  double Variance() const;
  // Of the marginals: the tree's mean at a place of one axis, or of two, over all other dimensions.
  double MarginalVariance(size_t axis) const;
  double MarginalVariance(size_t first, size_t second) const;

 private:
  using Run = std::pair<Index, Index>;  // cells, half-open
  struct Axis {
    size_t dimension = 0;
    std::vector<double> edges;  // ascending, from 0 to 1
    size_t cells() const { return edges.size() - 1; }
    double Width(size_t cell) const { return edges[cell + 1] - edges[cell]; }
  };
  struct Leaf {
    double mean = 0;  // less the mean of the tree
    double volume = 1;
    std::vector<double> widths;  // by axis
    std::vector<std::vector<Run>> runs;
  };
  using Box = std::vector<std::vector<bool>>;  // by axis, which cells

  void Visit(const Forest::Tree& tree, int at, Box& box);
  void AddLeaf(double mean, const Box& box);

  const Encoding& encoding_;
  std::vector<Axis> axes_;
  std::vector<size_t> axis_of_;  // by dimension
  std::vector<Leaf> leaves_;
};

Partition::Partition(const Encoding& encoding, const Forest::Tree& tree)
    : encoding_(encoding), axis_of_(encoding.dimensions()) {
  std::map<size_t, std::set<double>> edges;
  for (const Forest::Node& node : tree) {
    if (node.dimension < 0) continue;
    const auto j = static_cast<size_t>(node.dimension);
    std::set<double>& here = edges.try_emplace(j, std::set<double>{0, 1}).first->second;
    const int choices = encoding.choices()[j];
    if (choices == 0) here.insert(Edge(encoding.parameter(j), node.threshold));
    for (int c = 1; c < choices; ++c) here.insert(static_cast<double>(c) / choices);
  }
  Box box;
  for (const auto& [j, cuts] : edges) {
    axis_of_[j] = axes_.size();
    axes_.push_back({j, {cuts.begin(), cuts.end()}});
    box.emplace_back(axes_.back().cells(), true);
  }
  Visit(tree, 0, box);
  double mean = 0;
  for (const Leaf& leaf : leaves_) mean += leaf.mean * leaf.volume;
  for (Leaf& leaf : leaves_) leaf.mean -= mean;
}

void Partition::Visit(const Forest::Tree& tree, int at, Box& box) {
  const Forest::Node& node = tree[static_cast<size_t>(at)];
  if (node.dimension < 0) return AddLeaf(node.mean, box);
  const auto j = static_cast<size_t>(node.dimension);
  const size_t a = axis_of_[j];
  const bool number = encoding_.choices()[j] == 0;
  const double edge = number ? Edge(encoding_.parameter(j), node.threshold) : 0;
  const std::vector<bool> whole = box[a];
  for (const bool left : {true, false}) {
    for (size_t c = 0; c < whole.size(); ++c) {
      const bool goes_left = number ? axes_[a].edges[c + 1] <= edge : node.left_choices[c];
      box[a][c] = whole[c] && goes_left == left;
    }
    Visit(tree, left ? node.left : node.right, box);
  }
  box[a] = whole;
}

void Partition::AddLeaf(double mean, const Box& box) {
  Leaf leaf;
  leaf.mean = mean;
  for (size_t a = 0; a < axes_.size(); ++a) {
    std::vector<Run> runs;
    double width = 0;
    for (size_t c = 0; c < box[a].size(); ++c) {
      if (!box[a][c]) continue;
      width += axes_[a].Width(c);
      const auto cell = static_cast<Index>(c);
      if (runs.empty() || runs.back().second < cell) runs.emplace_back(cell, cell);
      runs.back().second = cell + 1;
    }
    leaf.volume *= width;
    leaf.widths.push_back(width);
    leaf.runs.push_back(std::move(runs));
  }
  if (leaf.volume > 0) leaves_.push_back(std::move(leaf));
}

double Partition::Variance() const {
  double variance = 0;
  for (const Leaf& leaf : leaves_) variance += leaf.volume * leaf.mean * leaf.mean;
  return variance;
}

// Each leaf adds to a run of cells: at its ends here, in between by the running sum.
double Partition::MarginalVariance(size_t axis) const {
  VectorXd change = VectorXd::Zero(static_cast<Index>(axes_[axis].edges.size()));
  for (const Leaf& leaf : leaves_) {
    const double added = leaf.mean * (leaf.volume / leaf.widths[axis]);
    for (const auto& [begin, end] : leaf.runs[axis]) {
      change[begin] += added;
      change[end] -= added;
    }
  }
  double marginal = 0, variance = 0;
  for (size_t c = 0; c < axes_[axis].cells(); ++c) {
    marginal += change[static_cast<Index>(c)];
    variance += axes_[axis].Width(c) * marginal * marginal;
  }
  return variance;
}

// The same with the corners of rectangles.
double Partition::MarginalVariance(size_t first, size_t second) const {
  const Axis& rows = axes_[first];
  const Axis& columns = axes_[second];
  MatrixXd marginal =
      MatrixXd::Zero(static_cast<Index>(rows.edges.size()), static_cast<Index>(columns.edges.size()));
  for (const Leaf& leaf : leaves_) {
    const double added = leaf.mean * (leaf.volume / (leaf.widths[first] * leaf.widths[second]));
    for (const auto& [top, bottom] : leaf.runs[first]) {
      for (const auto& [left, right] : leaf.runs[second]) {
        marginal(top, left) += added;
        marginal(top, right) -= added;
        marginal(bottom, left) -= added;
        marginal(bottom, right) += added;
      }
    }
  }
  double variance = 0;
  for (size_t k = 0; k < columns.cells(); ++k) {
    const auto column = static_cast<Index>(k);
    double down = 0;
    for (size_t i = 0; i < rows.cells(); ++i) {
      const auto row = static_cast<Index>(i);
      down += marginal(row, column);
      marginal(row, column) = down + (column > 0 ? marginal(row, column - 1) : 0);
      variance += rows.Width(i) * columns.Width(k) * marginal(row, column) * marginal(row, column);
    }
  }
  return variance;
}

// Shares of one effect, tree by tree; a tree that says nothing about it has 0.
struct Shares {
  double sum = 0, squares = 0;
  void Add(double share) {
    sum += share;
    squares += share * share;
  }
  Importance::Share Over(int trees) const {
    if (trees == 0) return {};
    const double mean = sum / trees;
    return {mean, std::sqrt(std::max(0.0, squares / trees - mean * mean))};
  }
};

// By trial, so that the order in which they came makes no difference.
std::vector<Observation> Kept(std::vector<Observation> results) {
  std::erase_if(results, [](const Observation& each) { return !std::isfinite(each.loss); });
  std::sort(results.begin(), results.end(),
            [](const Observation& a, const Observation& b) { return a.trial < b.trial; });
  if (results.size() <= kMostImportanceResults) return results;
  std::vector<Observation> kept;
  for (size_t i = 0; i < kMostImportanceResults; ++i) {
    kept.push_back(results[i * results.size() / kMostImportanceResults]);
  }
  return kept;
}

MatrixXd Points(const Encoding& encoding, const std::vector<Observation>& results, Rng& rng) {
  MatrixXd x(static_cast<Index>(results.size()), static_cast<Index>(encoding.dimensions()));
  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<double> point = encoding.Encoded(*results[i].config);
    for (size_t j = 0; j < point.size(); ++j) {
      const auto anything = [&] {
        return encoding.Encoded(encoding.parameter(j).FromUnit(rng.Uniform()), j);
      };
      x(static_cast<Index>(i), static_cast<Index>(j)) = std::isnan(point[j]) ? anything() : point[j];
    }
  }
  return x;
}

// On [-1, 1], where no sum of squares overflows; shares do not depend on the scale. Empty if all are equal.
VectorXd Scaled(const std::vector<Observation>& results) {
  VectorXd y(static_cast<Index>(results.size()));
  for (size_t i = 0; i < results.size(); ++i) y[static_cast<Index>(i)] = results[i].loss / 2;
  if (y.size() == 0) return y;
  const double middle = y.minCoeff() / 2 + y.maxCoeff() / 2;
  const double reach = y.maxCoeff() / 2 - y.minCoeff() / 2;
  if (reach <= 0) return VectorXd();
  for (Index i = 0; i < y.size(); ++i) y[i] = (y[i] - middle) / reach;
  return y;
}

template <typename Effect>
void LargestFirst(std::vector<Effect>& effects) {
  std::stable_sort(effects.begin(), effects.end(),
                   [](const Effect& a, const Effect& b) { return a.share.mean > b.share.mean; });
}

}  // namespace

size_t FewestImportanceResults(const Space& space) {
  return std::max<size_t>(10, 2 * static_cast<size_t>(space.Dimension()));
}

Importance ImportanceOf(const Space& space, std::vector<Observation> results, int64_t seed) {
  const Encoding encoding(space);
  results = Kept(std::move(results));
  Importance importance;
  importance.results = results.size();
  std::map<std::string, Shares> mains;
  std::map<std::pair<size_t, size_t>, Shares> pairs;
  const VectorXd y = Scaled(results);
  if (y.size() > 0 && encoding.dimensions() > 0) {
    Rng rng(static_cast<uint64_t>(seed), 0);  // trials, whose numbers made the configs, count from 1
    const size_t trees =
        std::clamp(kMostWork / (results.size() * encoding.dimensions()), kFewestTrees, kMostTrees);
    const Forest::Options options{
        .trees = static_cast<int>(trees), .smallest_split = 2, .feature_share = 1, .bootstrap = true};
    const Forest forest(Points(encoding, results, rng), y, encoding.choices(), options, rng);
    for (const Forest::Tree& tree : forest.trees()) {
      const Partition partition(encoding, tree);
      const double total = partition.Variance();
      if (total < kNoVariance) continue;
      ++importance.trees;
      std::vector<double> alone;
      for (size_t a = 0; a < partition.axes(); ++a) {
        alone.push_back(partition.MarginalVariance(a));
        mains[encoding.parameter(partition.dimension(a)).name].Add(alone[a] / total);
        for (size_t b = 0; b < a; ++b) {
          const double together = partition.MarginalVariance(b, a) - alone[b] - alone[a];
          pairs[{partition.dimension(b), partition.dimension(a)}].Add(std::max(0.0, together) / total);
        }
      }
    }
  }
  for (const Parameter& parameter : space.parameters()) {
    importance.parameters.push_back({parameter.name, mains[parameter.name].Over(importance.trees)});
  }
  for (const auto& [pair, shares] : pairs) {
    if (shares.sum <= 0) continue;
    importance.interactions.push_back({encoding.parameter(pair.first).name,
                                       encoding.parameter(pair.second).name, shares.Over(importance.trees)});
  }
  LargestFirst(importance.parameters);
  LargestFirst(importance.interactions);
  if (importance.interactions.size() > kMostInteractions) importance.interactions.resize(kMostInteractions);
  return importance;
}

}  // namespace rung
