#include "search/plan.h"

#include <algorithm>
#include <limits>

#include "search/brackets/scheduler.h"
#include "search/samplers/sampler.h"

namespace rung {
namespace {

// Costs in full budgets; a study that trains nothing costs one per run.
PlanRow Priced(int bracket, std::vector<int> trials, const std::vector<double>& budgets, int first_rung,
               const StudySpec& spec) {
  PlanRow row;
  row.bracket = bracket;
  row.trials = std::move(trials);
  double before = 0;
  for (size_t i = 0; i < row.trials.size(); ++i) {
    const double budget = budgets[static_cast<size_t>(first_rung) + i];
    const double share = spec.budget.max > 0 ? budget / spec.budget.max : 1;
    const double runs = static_cast<double>(row.trials[i]) * spec.Replicates();
    row.budgets.push_back(budget);
    row.cost_restart += runs * share;
    row.cost_resume += runs * (share - before);
    before = share;
  }
  return row;
}

// Brackets repeat: `set` is run `sets` times, and then what is left.
struct Repeated {
  std::vector<PlanRow> before, set, rest;
  int64_t sets = 0;
};

Repeated WithoutRungs(const StudySpec& spec, int outside, Repeated plan) {
  const std::optional<int64_t> limit = MakeSampler(spec)->Limit();
  const bool limited = spec.stop.trials.has_value();
  int trials = std::max(spec.stop.trials.value_or(0) - outside, 0);
  if (limit.has_value()) {
    const int all = static_cast<int>(*limit) + static_cast<int>(spec.enqueue.size()) - outside;
    trials = limited ? std::min(all, trials) : all;
  }
  plan.rest.push_back(Priced(0, {trials}, spec.RungBudgets(), 0, spec));
  return plan;
}

Repeated PlanSets(const StudySpec& spec) {
  const std::vector<double> budgets = spec.RungBudgets();
  Repeated plan;
  const auto outside = static_cast<int>(std::count_if(
      spec.enqueue.begin(), spec.enqueue.end(), [](const Enqueued& enqueued) { return enqueued.to_max; }));
  if (outside > 0)
    plan.before.push_back(Priced(-1, std::vector<int>(budgets.size(), outside), budgets, 0, spec));
  if (!spec.algorithm.Climbs()) return WithoutRungs(spec, outside, std::move(plan));
  // What auto will do nobody knows; it spends as much as Hyperband (brackets/auto_ladder.h).
  const bool is_auto = spec.algorithm.scheduler == SchedulerType::kAuto;
  const std::unique_ptr<Scheduler> scheduler = is_auto ? MakeHyperband(spec) : MakeScheduler(spec);
  const auto rungs = static_cast<int>(budgets.size());
  const int full_set = is_auto ? rungs : spec.algorithm.FullSet(rungs);
  int64_t trials_of_set = 0;
  for (int index = 0; index < full_set; ++index) {
    BracketPlan bracket = scheduler->Plan(index);
    trials_of_set += bracket.trials.front();
    plan.set.push_back(Priced(index, std::move(bracket.trials), budgets, bracket.first_rung, spec));
  }
  plan.sets = 1;
  if (spec.algorithm.Endless() && !is_auto) return plan;
  const bool limited = spec.stop.trials.has_value();
  int64_t left = std::max(spec.stop.trials.value_or(0) - outside, 0);
  const int64_t most = spec.stop.brackets.value_or(limited ? std::numeric_limits<int>::max() : full_set);
  plan.sets = most / full_set;
  if (limited) plan.sets = std::min(plan.sets, left / trials_of_set);
  left -= plan.sets * trials_of_set;
  const int64_t after = std::min<int64_t>(most - plan.sets * full_set, full_set);
  for (int index = 0; index < after && (!limited || left > 0); ++index) {
    BracketPlan bracket = scheduler->Plan(index);
    if (limited) {
      bracket.trials[0] = static_cast<int>(std::min<int64_t>(bracket.trials[0], left));
      left -= bracket.trials[0];
      for (size_t i = 1; i < bracket.trials.size(); ++i)
        bracket.trials[i] = std::min(bracket.trials[i], bracket.trials[i - 1]);
    }
    plan.rest.push_back(Priced(index, std::move(bracket.trials), budgets, bracket.first_rung, spec));
  }
  return plan;
}

double CostOf(const std::vector<PlanRow>& rows, const StudySpec& spec) {
  double cost = 0;
  for (const PlanRow& row : rows) cost += Cost(row, spec);
  return cost;
}

}  // namespace

std::vector<PlanRow> Plan(const StudySpec& spec) {
  Repeated plan = PlanSets(spec);
  std::vector<PlanRow> rows = std::move(plan.before);
  int bracket = 0;
  const auto append = [&](const std::vector<PlanRow>& more) {
    for (const PlanRow& row : more) {
      rows.push_back(row);
      rows.back().bracket = bracket++;
    }
  };
  for (int64_t i = 0; i < plan.sets; ++i) append(plan.set);
  append(plan.rest);
  return rows;
}

double Cost(const PlanRow& row, const StudySpec& spec) {
  return spec.budget.on_promotion == OnPromotion::kResume ? row.cost_resume : row.cost_restart;
}

double PlannedBudget(const StudySpec& spec) {
  const Repeated plan = PlanSets(spec);
  const double full_budgets = CostOf(plan.before, spec) +
                              static_cast<double>(plan.sets) * CostOf(plan.set, spec) +
                              CostOf(plan.rest, spec);
  return full_budgets * spec.budget.max;
}

}  // namespace rung
