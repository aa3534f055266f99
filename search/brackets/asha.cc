// Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
// Alg. 2): nobody waits for a rung to fill. Promotion type: a free worker promotes the best trial that is in
// the top 1/eta of its rung, else starts a new one. Stopping type: a trial goes on at once if it is among the
// best max(1, n/eta) of the n scores that its rung has then, else it stops for good. Asynchronous Hyperband
// runs several such brackets, each from another first rung, and starts trials in the proportions of
// Hyperband's plan. PASHA (Bohdal et al. 2023, Alg. 1) is the promotion type with a top rung that rises while
// the ranking still changes.
#include <algorithm>
#include <cmath>

#include "search/brackets/ranking.h"
#include "search/brackets/scheduler.h"

namespace rung {
namespace {

class Asha : public Scheduler {
 public:
  Asha(const StudySpec& spec, const char* name, int brackets)
      : spec_(spec), name_(name), brackets_(brackets), rungs_(static_cast<int>(spec.RungBudgets().size())) {}

  // As many as the stop rule says; zeros where it does not.
  BracketPlan Plan(int index) const override {
    const int trials = spec_.stop.trials.value_or(0);
    double share = 1;
    if (brackets_ > 1) {
      double all = 0;
      for (int i = 0; i < brackets_; ++i) all += Weight(i);
      share = Weight(index) / all;
    }
    const int first_rung = brackets_ > 1 ? index : 0;
    if (trials == 0) return {first_rung, std::vector<int>(static_cast<size_t>(rungs_ - first_rung))};
    BracketPlan plan = PlanHalving(rungs_ - first_rung, spec_.budget.eta,
                                   static_cast<int>(std::ceil(trials * share - 1e-9)), /*survives=*/false);
    plan.first_rung = first_rung;
    return plan;
  }

  std::vector<Verdict> Judge(const Standings& standings, const Bracket& bracket) const override {
    if (spec_.algorithm.stopping) return JudgedAtOnce(bracket);
    const bool over = !standings.can_create && bracket.InFlight() == 0 && !Promotable(bracket).has_value();
    return over ? StopWaiting(name_, bracket) : std::vector<Verdict>{};
  }

  Step Next(const Standings& standings, const Bracket& bracket) const override {
    if (!spec_.algorithm.stopping) {
      if (std::optional<Verdict> promotion = Promotable(bracket)) return {std::move(promotion), std::nullopt};
    }
    if (standings.can_create && MostBehind(standings) == bracket.index)
      return {std::nullopt, bracket.first_rung};
    return {};
  }

  bool Closed(const Standings& standings, const Bracket& bracket) const override {
    return bracket.alive == 0 && !standings.can_create;
  }

 private:
  int Quota(const RungStanding& standing) const {
    // 1e-9: 3 / 1.1 * 1.1 is not quite 3.
    return static_cast<int>(
        std::floor(static_cast<double>(standing.ranked.size()) / spec_.budget.eta + 1e-9));
  }

  // The best waiting trial of the highest rung that has one in its top 1/eta.
  std::optional<Verdict> Promotable(const Bracket& bracket) const {
    for (int level = std::min(bracket.top, bracket.Last()) - 1; level >= 0; --level) {
      const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
      if (standing.waiting.empty()) continue;
      const RungEntry& best = *standing.waiting.begin();
      const int quota = Quota(standing);
      if (standing.Place(best) >= quota) continue;
      return Verdict{best.trial, true, VerdictInputs(name_, bracket, level, best, quota)};
    }
    return std::nullopt;
  }

  std::vector<Verdict> JudgedAtOnce(const Bracket& bracket) const {
    std::vector<Verdict> verdicts;
    for (int level = 0; level <= bracket.Last(); ++level) {
      const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
      const int quota = std::max(1, Quota(standing));
      for (const RungEntry& entry : standing.waiting) {
        verdicts.push_back(
            {entry.trial, standing.Place(entry) < quota, VerdictInputs(name_, bracket, level, entry, quota)});
      }
    }
    return verdicts;
  }

  // Hyperband's share of trials that start in this bracket.
  double Weight(int index) const {
    return PlanBracket(rungs_, spec_.budget.eta, index, false).trials.front();
  }

  // The bracket that has the fewest trials for its share; brackets open in that order.
  int MostBehind(const Standings& standings) const {
    int behind = 0;
    double least = 0;
    for (int i = 0; i < brackets_; ++i) {
      const bool opened = static_cast<size_t>(i) < standings.brackets.size();
      const double started =
          opened ? static_cast<double>(standings.brackets[static_cast<size_t>(i)].levels[0].entered.size())
                 : 0;
      const double share = started / Weight(i);
      if (i == 0 || share < least) {
        behind = i;
        least = share;
      }
    }
    return behind;
  }

  const StudySpec& spec_;
  const char* const name_;
  const int brackets_;
  const int rungs_;
};

class Pasha final : public Asha {
 public:
  explicit Pasha(const StudySpec& spec) : Asha(spec, "pasha/1", 1) {}

  // Two rungs at first; one more whenever the two highest disagree about who is best.
  int Top(const Bracket& bracket, int level) const override {
    const int top = std::max(bracket.top, std::min(1, bracket.Last()));
    if (level < top - 1 || top == bracket.Last()) return top;
    return RankingsAgree(bracket, top) ? top : top + 1;
  }
};

}  // namespace

std::unique_ptr<Scheduler> MakeAsha(const StudySpec& spec) {
  const bool several = spec.algorithm.scheduler == SchedulerType::kAsyncHyperband;
  const int brackets = several ? static_cast<int>(spec.RungBudgets().size()) : 1;
  return std::make_unique<Asha>(spec, several ? "async_hyperband/1" : "asha/1", brackets);
}

std::unique_ptr<Scheduler> MakePasha(const StudySpec& spec) {
  return std::make_unique<Pasha>(spec);
}

}  // namespace rung
