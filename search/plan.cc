#include <algorithm>

#include "search/brackets/scheduler.h"
#include "search/samplers/sampler.h"
#include "search/study.h"

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

}  // namespace

std::vector<PlanRow> Plan(const StudySpec& spec) {
  const std::vector<double> budgets = spec.RungBudgets();
  const auto rungs = static_cast<int>(budgets.size());
  std::vector<PlanRow> rows;
  const auto outside = static_cast<int>(std::count_if(
      spec.enqueue.begin(), spec.enqueue.end(), [](const Enqueued& enqueued) { return enqueued.to_max; }));
  if (outside > 0) rows.push_back(Priced(-1, std::vector<int>(budgets.size(), outside), budgets, 0, spec));
  int left = spec.stop.trials.value_or(0) - outside;
  const bool limited = spec.stop.trials.has_value();
  const std::unique_ptr<Scheduler> scheduler = MakeScheduler(spec);
  const int full_set = spec.algorithm.FullSet(rungs);
  if (!spec.algorithm.Climbs()) {
    const std::optional<int64_t> limit = MakeSampler(spec)->Limit();
    int trials = std::max(left, 0);
    if (limit.has_value()) {
      const int all = static_cast<int>(*limit) + static_cast<int>(spec.enqueue.size()) - outside;
      trials = limited ? std::min(all, trials) : all;
    }
    rows.push_back(Priced(0, {trials}, budgets, 0, spec));
    return rows;
  }
  if (spec.algorithm.Endless()) {
    for (int index = 0; index < full_set; ++index) {
      BracketPlan plan = scheduler->Plan(index);
      rows.push_back(Priced(index, std::move(plan.trials), budgets, plan.first_rung, spec));
    }
    return rows;
  }
  const int brackets = spec.stop.brackets.value_or(limited ? left : full_set);
  for (int index = 0; index < brackets && (!limited || left > 0); ++index) {
    BracketPlan plan = scheduler->Plan(index);
    if (limited) {
      plan.trials[0] = std::min(plan.trials[0], left);
      left -= plan.trials[0];
      for (size_t i = 1; i < plan.trials.size(); ++i)
        plan.trials[i] = std::min(plan.trials[i], plan.trials[i - 1]);
    }
    rows.push_back(Priced(index, std::move(plan.trials), budgets, plan.first_rung, spec));
  }
  return rows;
}

}  // namespace rung
