#include "search/brackets/auto_ladder.h"

#include <algorithm>
#include <limits>

namespace rung {
namespace {

constexpr char kName[] = "auto/1";

// What it costs to train to `rung` a trial that starts at `first_rung`; one where nothing is trained.
double StepCost(const StudySpec& spec, const std::vector<double>& budgets, int first_rung, int rung) {
  if (spec.budget.max <= 0) return 1;
  const double budget = budgets[static_cast<size_t>(rung)];
  const bool resumes = spec.budget.on_promotion == OnPromotion::kResume && rung > first_rung;
  return budget - (resumes ? budgets[static_cast<size_t>(rung) - 1] : 0);
}

class AutoLadder final : public Scheduler {
 public:
  explicit AutoLadder(const StudySpec& spec)
      : spec_(spec), rungs_(static_cast<int>(spec.RungBudgets().size())) {}

  BracketPlan Plan(int index) const override {
    if (index == kAtOnce) return {rungs_ - 1, {0}};
    return PlanBracket(rungs_, spec_.budget.eta, 0, /*ceil_plan=*/false);
  }

  // The start alone: of the trials that were planned for a rung the best go on together when all of them are
  // decided. Others may climb past them meanwhile.
  std::vector<Verdict> Judge(const Standings& standings, const Bracket& bracket) const override {
    if (bracket.index != kLadder) return {};
    const std::vector<TrialId>& entered = bracket.levels[0].entered;
    const auto planned = static_cast<size_t>(bracket.planned[0]);
    if (entered.size() < planned && standings.can_create) return {};
    std::vector<TrialId> cohort(
        entered.begin(), entered.begin() + static_cast<std::ptrdiff_t>(std::min(entered.size(), planned)));
    for (int level = 0; level < bracket.Last(); ++level) {
      const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
      std::vector<RungEntry> best;
      for (const TrialId trial : cohort) {
        if (standing.open.contains(trial)) return {};
        const auto loss = standing.losses.find(trial.value);
        if (loss != standing.losses.end()) best.push_back({trial, loss->second});
      }
      std::sort(best.begin(), best.end());
      const int promotes = bracket.planned[static_cast<size_t>(level) + 1];
      if (static_cast<int>(best.size()) > promotes) best.resize(static_cast<size_t>(promotes));
      std::vector<Verdict> verdicts;
      cohort.clear();
      for (const RungEntry& entry : best) {
        cohort.push_back(entry.trial);
        if (standing.waiting.contains(entry))
          verdicts.push_back({entry.trial, true, VerdictInputs(kName, bracket, level, entry, promotes)});
      }
      if (!verdicts.empty()) return verdicts;
    }
    return {};
  }

  // Whether anything may start; what it is, the policy says.
  Step Next(const Standings& standings, const Bracket& bracket) const override {
    if (!standings.can_create) return {};
    return {std::nullopt, bracket.first_rung};
  }

 private:
  const StudySpec& spec_;
  const int rungs_;
};

}  // namespace

AutoAccount AccountOf(const StudySpec& spec, const std::vector<Bracket>& brackets) {
  const std::vector<double> budgets = spec.RungBudgets();
  AutoAccount spent;
  for (const Bracket& bracket : brackets) {
    for (int level = 0; level <= bracket.Last(); ++level) {
      const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
      const auto entered = static_cast<double>(standing.entered.size());
      const double cost = StepCost(spec, budgets, bracket.first_rung, bracket.first_rung + level);
      if (bracket.index == kAtOnce) {
        spent.at_once += entered * cost;
        continue;
      }
      const double planned = bracket.planned[static_cast<size_t>(level)];
      spent.start += std::min(entered, planned) * cost;
      spent.climbing += std::max(entered - planned, 0.0) * cost;
    }
  }
  return spent;
}

double AutoLimit(const StudySpec& spec) {
  if (!spec.stop.brackets.has_value() && spec.stop.EndsWithoutBrackets())
    return std::numeric_limits<double>::infinity();
  const std::vector<double> budgets = spec.RungBudgets();
  const auto rungs = static_cast<int>(budgets.size());
  const int brackets = spec.stop.brackets.value_or(rungs);
  double limit = 0;
  for (int index = 0; index < rungs; ++index) {
    const BracketPlan plan = PlanBracket(rungs, spec.budget.eta, index, /*ceil_plan=*/false);
    double cost = 0;
    for (size_t i = 0; i < plan.trials.size(); ++i)
      cost +=
          plan.trials[i] * StepCost(spec, budgets, plan.first_rung, plan.first_rung + static_cast<int>(i));
    limit += cost * (brackets / rungs + (index < brackets % rungs ? 1 : 0));
  }
  return limit;
}

std::unique_ptr<Scheduler> MakeAutoLadder(const StudySpec& spec) {
  return std::make_unique<AutoLadder>(spec);
}

}  // namespace rung
