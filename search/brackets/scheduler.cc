#include "search/brackets/scheduler.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace rung {

int RungStanding::Place(const RungEntry& entry) const {
  return static_cast<int>(std::lower_bound(ranked.begin(), ranked.end(), entry) - ranked.begin());
}

int Bracket::InFlight() const {
  int waiting = 0;
  for (const RungStanding& level : levels) waiting += static_cast<int>(level.waiting.size());
  return alive - waiting;
}

bool Scheduler::Closed(const Standings& standings, const Bracket& bracket) const {
  if (bracket.alive > 0) return false;
  return !Next(standings, bracket).new_trial_rung.has_value();
}

std::unique_ptr<Scheduler> MakeScheduler(const StudySpec& spec) {
  switch (spec.algorithm.scheduler) {
    case SchedulerType::kHyperband:
      return MakeHyperband(spec);
    case SchedulerType::kSuccessiveHalving:
      return MakeSuccessiveHalving(spec);
    case SchedulerType::kAsha:
    case SchedulerType::kAsyncHyperband:
      return MakeAsha(spec);
    case SchedulerType::kPasha:
      return MakePasha(spec);
    case SchedulerType::kMedianStop:
      return MakeMedianStop(spec);
    case SchedulerType::kAuto:
      return MakeAutoLadder(spec);
    case SchedulerType::kNone:
      break;
  }
  return MakeNoScheduler(spec);
}

std::string VerdictInputs(const char* scheduler, const Bracket& bracket, int level, const RungEntry& entry,
                          int promotes) {
  const RungStanding& standing = bracket.levels[static_cast<size_t>(level)];
  const nlohmann::json inputs = {{"scheduler", scheduler},
                                 {"bracket", bracket.index},
                                 {"rung", bracket.first_rung + level},
                                 {"loss", entry.loss},
                                 {"place", standing.Place(entry) + 1},
                                 {"of", standing.ranked.size()},
                                 {"decided", standing.decided},
                                 {"promotes", promotes}};
  return inputs.dump();
}

std::vector<Verdict> StopWaiting(const char* scheduler, const Bracket& bracket) {
  std::vector<Verdict> verdicts;
  for (int level = 0; level <= bracket.Last(); ++level) {
    for (const RungEntry& entry : bracket.levels[static_cast<size_t>(level)].waiting)
      verdicts.push_back({entry.trial, false, VerdictInputs(scheduler, bracket, level, entry, 0)});
  }
  return verdicts;
}

}  // namespace rung
