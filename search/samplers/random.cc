// Uniform picks, and the grid.
#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

class RandomSampler final : public Sampler {
 public:
  explicit RandomSampler(const Space& space) : fresh_(space) {}
  Proposal Propose(const History& history, Rng& rng) const override {
    return {fresh_.Draw(history, rng), Origin::Source::kRandom, -1, R"({"sampler":"random/1"})"};
  }

 private:
  const FreshConfigs fresh_;
};

class GridSampler final : public Sampler {
 public:
  GridSampler(const Space& space, int levels) : grid_(space.Grid(levels)) {}
  Proposal Propose(const History& history, Rng&) const override {
    RUNG_CHECK(history.grid_trials < *Limit(), "a config of the grid is left");
    const nlohmann::json detail = {
        {"sampler", "grid/1"}, {"index", history.grid_trials}, {"of", grid_.size()}};
    return {grid_[static_cast<size_t>(history.grid_trials)], Origin::Source::kGrid, -1, detail.dump()};
  }
  std::optional<int64_t> Limit() const override { return static_cast<int64_t>(grid_.size()); }

 private:
  const std::vector<Config> grid_;
};

}  // namespace

std::unique_ptr<Sampler> MakeRandomSampler(const Space& space) {
  return std::make_unique<RandomSampler>(space);
}

std::unique_ptr<Sampler> MakeGridSampler(const Space& space, int levels) {
  return std::make_unique<GridSampler>(space, levels);
}

}  // namespace rung
