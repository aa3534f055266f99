#include "search/brackets/ranking.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace rung {
namespace {

constexpr double kNoisePercentile = 0.9;
constexpr size_t kMostCompared = 300;  // pairs grow with the square

double LossAt(const Bracket& bracket, int level, TrialId trial) {
  return bracket.levels[static_cast<size_t>(level)].losses.at(trial.value);
}

// How often a pair's order changes from its first level to `level`.
int Crossings(const Bracket& bracket, int level, TrialId a, TrialId b) {
  int crossings = 0;
  double before = 0;
  for (int i = 0; i <= level; ++i) {
    const double difference = LossAt(bracket, i, a) - LossAt(bracket, i, b);
    if (difference * before < 0) ++crossings;
    if (difference != 0) before = difference;
  }
  return crossings;
}

}  // namespace

double RankingNoise(const Bracket& bracket, int level) {
  const std::vector<RungEntry>& ranked = bracket.levels[static_cast<size_t>(level)].ranked;
  const size_t count = std::min(ranked.size(), kMostCompared);
  std::vector<double> differences;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) {
      if (Crossings(bracket, level, ranked[i].trial, ranked[j].trial) >= 2)
        differences.push_back(ranked[j].loss - ranked[i].loss);
    }
  }
  if (differences.empty()) return 0;
  std::sort(differences.begin(), differences.end());
  const auto place =
      static_cast<size_t>(std::ceil(kNoisePercentile * static_cast<double>(differences.size())));
  return differences[place - 1];
}

bool RankingsAgree(const Bracket& bracket, int level) {
  RUNG_CHECK(level >= 1 && level <= bracket.Last(), "a level with one below it");
  const double noise = RankingNoise(bracket, level);
  std::vector<RungEntry> below;
  for (const RungEntry& entry : bracket.levels[static_cast<size_t>(level)].ranked)
    below.push_back({entry.trial, LossAt(bracket, level - 1, entry.trial)});
  const std::vector<RungEntry> order = below;  // by rank at `level`, losses of the level below
  std::sort(below.begin(), below.end());
  for (size_t i = 0; i < order.size(); ++i) {
    if (std::abs(order[i].loss - below[i].loss) > noise) return false;
  }
  return true;
}

}  // namespace rung
