// One-dimensional Parzen windows of the tree-structured Parzen estimator. Immutable; thread-safe.
#pragma once

#include <vector>

#include "search/rng.h"

namespace rung {

class ParzenWindow {
 public:
  // Values of one parameter: numbers on [0, 1] (choices = 0) or categories 0..choices-1. The prior is one
  // more value: the whole range, or all categories alike. Widths of numbers: the distance to the farther
  // neighbour, at least 1 / min(100, n + 1) (Bergstra, Bardenet, Bengio, Kegl 2011, section 4.2).
  ParzenWindow(std::vector<double> values, int choices);

  double Draw(Rng& rng) const;
  double LogDensity(double value) const;

 private:
  int choices_;
  std::vector<double> centres_, widths_, log_scales_;  // of numbers; the prior's too
  std::vector<double> shares_;                         // of categories
};

}  // namespace rung
