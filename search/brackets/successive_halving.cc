// Synchronous halving (Jamieson and Talwalkar 2016, Alg. 1), alone and as Hyperband's brackets (Li et al.
// 2018, Alg. 1): when every trial of a rung is decided, the best n of them go on together and the others
// stop.
#include <algorithm>
#include <functional>

#include "search/brackets/scheduler.h"

namespace rung {
namespace {

class Halving final : public Scheduler {
 public:
  Halving(const char* name, bool refill, std::function<BracketPlan(int)> plan)
      : name_(name), refill_(refill), plan_(std::move(plan)) {}

  BracketPlan Plan(int index) const override { return plan_(index); }

  std::vector<Verdict> Judge(const Standings& standings, const Bracket& bracket) const override {
    const int level = Level(bracket);
    if (level >= bracket.Last() || bracket.alive == 0 || !Complete(standings, bracket)) return {};
    const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
    const int promotes = bracket.planned[static_cast<size_t>(level) + 1];
    std::vector<RungEntry> best(standing.waiting.begin(), standing.waiting.end());
    if (static_cast<int>(best.size()) > promotes) best.resize(static_cast<size_t>(promotes));
    std::vector<Verdict> verdicts;
    for (const RungEntry& entry : best)
      verdicts.push_back({entry.trial, true, VerdictInputs(name_, bracket, level, entry, promotes)});
    for (const TrialId trial : standing.entered) {
      const auto loss = standing.losses.find(trial.value);
      if (loss == standing.losses.end()) continue;
      const RungEntry entry{trial, loss->second};
      if (!standing.waiting.contains(entry) || (!best.empty() && !(best.back() < entry))) continue;
      verdicts.push_back({trial, false, VerdictInputs(name_, bracket, level, entry, promotes)});
    }
    return verdicts;
  }

  Step Next(const Standings& standings, const Bracket& bracket) const override {
    const int level = Level(bracket);
    if (SlotOpen(standings, bracket)) return {std::nullopt, bracket.first_rung + level};
    // Nobody survived: fresh configs at the next level.
    const bool refill = refill_ && standings.can_create && bracket.alive == 0 && level < bracket.Last();
    if (refill && Complete(standings, bracket)) return {std::nullopt, bracket.first_rung + level + 1};
    return {};
  }

 private:
  // The highest level that a trial has entered.
  static int Level(const Bracket& bracket) {
    int level = bracket.Last();
    while (level > 0 && bracket.levels[static_cast<size_t>(level)].entered.empty()) --level;
    return level;
  }
  bool SlotOpen(const Standings& standings, const Bracket& bracket) const {
    const auto level = static_cast<size_t>(Level(bracket));
    const bool room = static_cast<int>(bracket.levels[level].entered.size()) < bracket.planned[level];
    return standings.can_create && room && (level == 0 || refill_);
  }
  bool Complete(const Standings& standings, const Bracket& bracket) const {
    const RungStanding& standing = bracket.levels[static_cast<size_t>(Level(bracket))];
    return standing.decided == static_cast<int>(standing.entered.size()) && !SlotOpen(standings, bracket);
  }

  const char* const name_;
  const bool refill_;
  const std::function<BracketPlan(int)> plan_;
};

}  // namespace

std::unique_ptr<Scheduler> MakeHyperband(const StudySpec& spec) {
  const auto rungs = static_cast<int>(spec.RungBudgets().size());
  return std::make_unique<Halving>("hyperband/1", spec.algorithm.refill, [&spec, rungs](int index) {
    return PlanBracket(rungs, spec.budget.eta, index, spec.algorithm.ceil_plan);
  });
}

std::unique_ptr<Scheduler> MakeSuccessiveHalving(const StudySpec& spec) {
  const auto rungs = static_cast<int>(spec.RungBudgets().size());
  return std::make_unique<Halving>("successive_halving/1", spec.algorithm.refill, [&spec, rungs](int) {
    return PlanHalving(rungs, spec.budget.eta, spec.algorithm.configs, true);
  });
}

}  // namespace rung
