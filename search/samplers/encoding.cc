#include "search/samplers/encoding.h"

#include <cmath>
#include <limits>
#include <utility>

namespace rung {

Encoding::Encoding(const Space& space, bool ordinals_as_categorical) : space_(space) {
  for (const Parameter& parameter : space.parameters()) {
    if (parameter.Cardinality().value_or(2) < 2) continue;
    const bool categorical = parameter.kind == ParameterKind::kCategorical ||
                             (parameter.kind == ParameterKind::kOrdinal && ordinals_as_categorical);
    parameters_.push_back(&parameter);
    choices_.push_back(categorical ? static_cast<int>(parameter.choices.size()) : 0);
  }
}

double Encoding::Encoded(const Value& value, size_t dimension) const {
  if (choices_[dimension] == 0) return parameters_[dimension]->ToUnit(value);
  return static_cast<double>(*parameters_[dimension]->ChoiceIndex(value));
}

std::vector<double> Encoding::Encoded(const Config& config) const {
  std::vector<double> point(dimensions(), std::numeric_limits<double>::quiet_NaN());
  for (size_t j = 0; j < dimensions(); ++j) {
    const auto found = config.find(parameters_[j]->name);
    if (found != config.end()) point[j] = Encoded(found->second, j);
  }
  return point;
}

std::vector<double> Encoding::Filled(const Config& config) const {
  std::vector<double> point = Encoded(config);
  for (size_t j = 0; j < dimensions(); ++j) {
    if (std::isnan(point[j])) point[j] = choices_[j] == 0 ? 0.5 : 0;
  }
  return point;
}

Config Encoding::Decoded(const std::vector<double>& point, Rng& rng) const {
  Config config;
  for (size_t j = 0; j < dimensions(); ++j) {
    if (std::isnan(point[j])) continue;
    config[parameters_[j]->name] = choices_[j] == 0 ? parameters_[j]->FromUnit(point[j])
                                                    : parameters_[j]->choices[static_cast<size_t>(point[j])];
  }
  return space_.Completed(std::move(config), rng);
}

bool HasPrior(const Parameter& parameter) {
  return parameter.normal_prior.has_value() || parameter.lognormal_prior.has_value() ||
         parameter.beta_prior.has_value() || !parameter.weights.empty();
}

}  // namespace rung
