// A random forest for regression whose prediction has a variance (Hutter, Hoos, Leyton-Brown 2011; Hutter,
// Xu, Hoos, Leyton-Brown 2014, section 4.3). Immutable; thread-safe.
#pragma once

#include <vector>

#include <Eigen/Dense>

#include "search/rng.h"

namespace rung {

class Forest {
 public:
  struct Options {
    int trees = 10;
    int smallest_split = 3;          // fewer results become a leaf
    double feature_share = 5.0 / 6;  // of the dimensions looked at per split
    bool bootstrap = true;
  };

  // Results: points x (n, d) as of Encoding::Filled, values y (n); n >= 1. `choices` as of Encoding.
  Forest(const Eigen::MatrixXd& x, const Eigen::VectorXd& y, const std::vector<int>& choices,
         const Options& options, Rng& rng);

  // Mean and variance of a point: of the trees' means, plus the mean of the leaves' variances.
  struct Prediction {
    double mean = 0, variance = 0;
  };
  Prediction At(const Eigen::MatrixXd& points, Eigen::Index row) const;

  struct Node {
    int dimension = -1;              // -1: a leaf
    double threshold = 0;            // of a number: up to it is left
    std::vector<bool> left_choices;  // of a category: which go left
    int left = 0, right = 0;
    double mean = 0, variance = 0;
  };
  using Tree = std::vector<Node>;  // the root first
  const std::vector<Tree>& trees() const { return trees_; }

 private:
  struct Growth;  // what a tree grows from

  static int Grow(const Growth& growth, std::vector<Eigen::Index> rows, Tree& tree, Rng& rng);

  std::vector<Tree> trees_;
};

}  // namespace rung
