// The median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.1): at each rung a trial stops
// if its best loss so far is worse than the median of the others' mean losses up to that rung.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "search/brackets/scheduler.h"

namespace rung {
namespace {

constexpr char kName[] = "median_stop/1";

class MedianStop final : public Scheduler {
 public:
  explicit MedianStop(const StudySpec& spec) : spec_(spec), rungs_(spec.RungBudgets().size()) {}

  BracketPlan Plan(int) const override {
    return {0, std::vector<int>(rungs_, spec_.stop.trials.value_or(0))};
  }

  std::vector<Verdict> Judge(const Standings&, const Bracket& bracket) const override {
    std::vector<Verdict> verdicts;
    for (int level = 0; level <= bracket.Last(); ++level) {
      for (const RungEntry& entry : bracket.levels[static_cast<size_t>(level)].waiting)
        verdicts.push_back(Judged(bracket, level, entry));
    }
    return verdicts;
  }

  Step Next(const Standings& standings, const Bracket& bracket) const override {
    if (!standings.can_create) return {};
    return {std::nullopt, bracket.first_rung};
  }

 private:
  Verdict Judged(const Bracket& bracket, int level, const RungEntry& entry) const {
    double best = entry.loss;
    for (int i = 0; i < level; ++i)
      best = std::min(best, bracket.levels[static_cast<size_t>(i)].losses.at(entry.trial.value));
    std::vector<double> means;
    for (const RungEntry& other : bracket.levels[static_cast<size_t>(level)].ranked) {
      if (other.trial != entry.trial) means.push_back(MeanLoss(bracket, level, other.trial));
    }
    nlohmann::json inputs =
        nlohmann::json::parse(VerdictInputs(kName, bracket, level, entry, static_cast<int>(means.size())));
    inputs.erase("promotes");
    inputs["best"] = best;
    inputs["others"] = means.size();
    if (static_cast<int>(means.size()) < spec_.algorithm.min_results)
      return {entry.trial, true, inputs.dump()};
    const double median = Median(std::move(means));
    inputs["median"] = median;
    return {entry.trial, best <= median, inputs.dump()};
  }

  static double MeanLoss(const Bracket& bracket, int level, TrialId trial) {
    double sum = 0;
    for (int i = 0; i <= level; ++i) sum += bracket.levels[static_cast<size_t>(i)].losses.at(trial.value);
    return sum / (level + 1);
  }

  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  }

  const StudySpec& spec_;
  const size_t rungs_;
};

}  // namespace

std::unique_ptr<Scheduler> MakeMedianStop(const StudySpec& spec) {
  return std::make_unique<MedianStop>(spec);
}

}  // namespace rung
