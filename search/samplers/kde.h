// Kernel density with one bandwidth per dimension: Gaussian for numbers, Aitchison-Aitken for categories
// (Falkner et al. 2018, section 3.1). Immutable; thread-safe.
#pragma once

#include <cstddef>
#include <vector>

namespace rung {

class Kde {
 public:
  struct Options {
    double min_bandwidth = 1e-3;
    // Categories: the rule of thumb meant for numbers, as BOHB does, instead of (k-1)/(n+k), which shrinks
    // with the data and knows the number of categories.
    bool original_categorical_bandwidth = false;
  };

  // `choices[j]`: 0 for a number on [0, 1], else the number of categories (at least 2) of dimension j, whose
  // values are 0..choices-1. `rows` holds rows of choices.size() finite values; at least one.
  Kde(std::vector<double> rows, std::vector<int> choices, const Options& options);

  // The same with given bandwidths.
  static Kde WithBandwidths(std::vector<double> rows, std::vector<int> choices,
                            std::vector<double> bandwidths);

  // 1.06 sd n^(-1/(4+d)) of a column, sd with ddof 0.
  static double RuleOfThumb(const std::vector<double>& rows, int dimensions, int column);

  // Mean over the rows of the product of the kernels; numbers are not truncated to [0, 1].
  double Density(const std::vector<double>& point) const;

  int rows() const { return static_cast<int>(count_); }
  double value(int row, int dimension) const;
  const std::vector<int>& choices() const { return choices_; }
  const std::vector<double>& bandwidths() const { return bandwidths_; }

 private:
  Kde() = default;

  std::vector<double> columns_;  // dimension by dimension: loops over rows are the hot ones
  size_t count_ = 0;             // of rows
  std::vector<int> choices_;
  std::vector<double> bandwidths_;
};

}  // namespace rung
