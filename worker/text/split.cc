// Splits of a data set (dataset.h).
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "worker/text/dataset.h"

namespace rung {
namespace {

// splitmix64's finaliser (Steele et al. 2014) over seed and position: the order of a class's rows.
uint64_t Mix(uint64_t seed, uint64_t position) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ULL + (position + 1) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// The rows of each class, shuffled by the seed.
std::vector<std::vector<int>> ShuffledClasses(const Dataset& dataset, int64_t split_seed) {
  // Rows with several labels, or a number, make one class: their order is random alone.
  std::vector<std::vector<int>> classes(dataset.labels.size());
  for (size_t i = 0; i < dataset.examples.size(); ++i) {
    classes[static_cast<size_t>(dataset.examples[i].label)].push_back(static_cast<int>(i));
  }
  const auto key = [&](int row) {
    return Mix(static_cast<uint64_t>(split_seed), static_cast<uint64_t>(row));
  };
  for (std::vector<int>& rows : classes) {
    std::sort(rows.begin(), rows.end(),
              [&](int a, int b) { return std::make_pair(key(a), a) < std::make_pair(key(b), b); });
  }
  return classes;
}

Split Sorted(Split split) {
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

// How many rows of each class are validated: proportional, the largest remainders first, at most all but one.
std::vector<size_t> ValidationCounts(const std::vector<std::vector<int>>& classes, double share,
                                     size_t total) {
  std::vector<size_t> counts(classes.size());
  std::vector<std::pair<double, size_t>> remainders;  // negative remainder, class: sorts largest first
  size_t given = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    const double exact = share * static_cast<double>(classes[c].size());
    const size_t most = classes[c].empty() ? 0 : classes[c].size() - 1;
    counts[c] = std::min(most, static_cast<size_t>(exact));
    given += counts[c];
    remainders.emplace_back(static_cast<double>(counts[c]) - exact, c);
  }
  std::sort(remainders.begin(), remainders.end());
  const size_t wanted =
      std::max<size_t>(1, static_cast<size_t>(std::floor(share * static_cast<double>(total) + 0.5)));
  for (const auto& [remainder, c] : remainders) {
    if (given >= wanted) break;
    if (counts[c] + 1 < classes[c].size()) {
      ++counts[c];
      ++given;
    }
  }
  return counts;
}

}  // namespace

Split SplitShare(const Dataset& dataset, double share, int64_t split_seed) {
  RUNG_CHECK(share > 0 && share < 1, "the option table keeps the share in (0, 1)");
  const std::vector<std::vector<int>> classes = ShuffledClasses(dataset, split_seed);
  const std::vector<size_t> counts = ValidationCounts(classes, share, dataset.examples.size());
  Split split;
  for (size_t c = 0; c < classes.size(); ++c) {
    for (size_t i = 0; i < classes[c].size(); ++i) {
      (i < counts[c] ? split.validation : split.train).push_back(classes[c][i]);
    }
  }
  return Sorted(std::move(split));
}

Split SplitFold(const Dataset& dataset, int fold, int folds, int64_t split_seed) {
  RUNG_CHECK(folds >= 2 && fold >= 0 && fold < folds, "a fold of at least two");
  Split split;
  size_t next = 0;  // runs on from class to class, so that the folds' sizes differ by at most one
  for (const std::vector<int>& rows : ShuffledClasses(dataset, split_seed)) {
    for (const int row : rows) {
      const bool mine = next++ % static_cast<size_t>(folds) == static_cast<size_t>(fold);
      (mine ? split.validation : split.train).push_back(row);
    }
  }
  return Sorted(std::move(split));
}

}  // namespace rung
