// Configs as points for models: numbers and ordinals on [0, 1], categories as 0..choices-1. Immutable;
// thread-safe.
#pragma once

#include <vector>

#include "search/rng.h"
#include "search/space.h"

namespace rung {

class Encoding {
 public:
  // The space must outlive the encoding. Dimensions are the parameters of at least two values, in the space's
  // order.
  explicit Encoding(const Space& space, bool ordinals_as_categorical = false);

  size_t dimensions() const { return parameters_.size(); }
  const Parameter& parameter(size_t dimension) const { return *parameters_[dimension]; }
  // 0 for a number on [0, 1], else the number of categories of a dimension.
  const std::vector<int>& choices() const { return choices_; }

  double Encoded(const Value& value, size_t dimension) const;
  // Inactive parameters: NaN.
  std::vector<double> Encoded(const Config& config) const;
  // Inactive parameters: the middle of numbers, the first category.
  std::vector<double> Filled(const Config& config) const;
  // The config of a point: inactive parameters are dropped, active ones whose coordinate is NaN are drawn.
  // May be forbidden.
  Config Decoded(const std::vector<double>& point, Rng& rng) const;

 private:
  const Space& space_;
  std::vector<const Parameter*> parameters_;
  std::vector<int> choices_;
};

// A person said what to believe about it.
bool HasPrior(const Parameter& parameter);

}  // namespace rung
