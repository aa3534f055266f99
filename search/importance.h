// Which parameters matter: shares of the variance of a score over the space, by functional ANOVA of a random
// forest (Hutter, Hoos, Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance",
// section 3). Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search/samplers/sampler.h"
#include "search/space.h"

namespace rung {

struct Importance {
  // Of the variance of a tree over the space, 0..1: mean and standard deviation over the trees.
  struct Share {
    double mean = 0, deviation = 0;
  };
  struct MainEffect {
    std::string parameter;
    Share share;
  };
  // What two parameters do together beyond what each does alone.
  struct Interaction {
    std::string first, second;
    Share share;
  };
  size_t results = 0;                     // that the forest has seen
  int trees = 0;                          // that vary; 0: nothing does, all shares are 0
  std::vector<MainEffect> parameters;     // all of the space, the largest share first
  std::vector<Interaction> interactions;  // the largest first, at most kMostInteractions, none of 0
};

// What is computed is bounded, for an answer in less than a second: of more results, as many are taken,
// evenly over the trials; with more than 32 parameters there are fewer than 64 trees.
inline constexpr size_t kMostImportanceResults = 500;
inline constexpr size_t kMostInteractions = 10;

// Fewer finite results say nothing about the space.
size_t FewestImportanceResults(const Space& space);

// `results`: of one rung, a config once or more often, in any order; those that are not finite are left out,
// and whether scores or losses makes no difference. Numbers count uniformly on the parameter's own scale
// (logarithmic where log), categories and ordinals each value alike, priors do not count. The value of an
// inactive parameter has no effect: the forest sees one drawn at random. The same results and seed give the
// same shares.
Importance ImportanceOf(const Space& space, std::vector<Observation> results, int64_t seed);

}  // namespace rung
