// The search for a new config whose value under a model is large: random configs, neighbours of good ones,
// then rounds of ever nearer neighbours of the most promising three. A pure function; thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <Eigen/Dense>

#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"

namespace rung {

// Points as rows.
Eigen::MatrixXd Rows(const Encoding& encoding, const std::vector<const Config*>& configs);

struct AcquisitionSearch {
  const Space& space;
  const Encoding& encoding;
  const FreshConfigs& fresh;
  // Neighbours of the first few are tried.
  std::vector<const Config*> bases;
  // Values of points (rows, as Encoding::Filled), at most a few hundred at once.
  std::function<Eigen::VectorXd(const Eigen::MatrixXd&)> value;
};

struct Suggestion {
  Config config;
  double value = 0;
  int candidates = 0;
};

// nullopt where all candidates are known or forbidden.
std::optional<Suggestion> Suggest(const AcquisitionSearch& search, const History& history, Rng& rng);

}  // namespace rung
