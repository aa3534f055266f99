// A scheduler decides which trials climb to the next rung and where new ones start. It keeps no state: what
// it says is a function of the standings, so any decision can be replayed. Immutable; thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "search/brackets/hyperband.h"
#include "search/study_spec.h"
#include "search/trial.h"

namespace rung {

// What happened so far at one rung of a bracket. Losses are finite: a failed trial is decided, never ranked.
struct RungStanding {
  std::vector<TrialId> entered;                // in the order in which they came
  std::set<TrialId> open;                      // of them: have no score yet, and may get one
  int decided = 0;                             // of them: have a score, failed or were stopped
  std::vector<RungEntry> ranked;               // scores, best first, ties to the older trial
  std::set<RungEntry> waiting;                 // of them: neither promoted nor finished
  std::unordered_map<int64_t, double> losses;  // the same by trial

  // How many of the scores are better than this one.
  int Place(const RungEntry& entry) const;
};

// One ladder of rungs. Levels count from its first rung.
struct Bracket {
  int index = 0;
  int first_rung = 0;
  std::vector<int> planned;  // trials per level; of an endless bracket as far as the stop rule says
  std::vector<RungStanding> levels;
  int alive = 0;  // unfinished trials
  int top = 0;    // the highest level that trials may climb to so far: Scheduler::Top

  int Last() const { return static_cast<int>(levels.size()) - 1; }
  // Trials that a worker has or will get: alive and without a score at their rung.
  int InFlight() const;
};

// What a decision may look at beside its bracket.
struct Standings {
  const std::vector<Bracket>& brackets;
  bool can_create = false;  // another trial, as far as stop.trials and the grid go
};

struct Verdict {
  TrialId trial;
  bool goes_on = false;  // to the next rung; else it is stopped
  std::string inputs_json;
};

// What a free worker could do in a bracket that has no job waiting.
struct Step {
  std::optional<Verdict> promotion;
  std::optional<int> new_trial_rung;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  // The ladder of the index-th bracket; its trials may be a guess where as many come as workers ask.
  virtual BracketPlan Plan(int index) const = 0;
  // What follows from the scores alone. Called after each event.
  virtual std::vector<Verdict> Judge(const Standings& standings, const Bracket& bracket) const = 0;
  // What a free worker does there next.
  virtual Step Next(const Standings& standings, const Bracket& bracket) const = 0;
  // No trial will ever come to it again.
  virtual bool Closed(const Standings& standings, const Bracket& bracket) const;
  // Up to where trials may climb, asked at the start and after a score at `level`; a bracket keeps the
  // highest answer.
  virtual int Top(const Bracket& bracket, int /*level*/) const { return bracket.Last(); }
};

// Of spec.algorithm; the spec must outlive it.
std::unique_ptr<Scheduler> MakeScheduler(const StudySpec& spec);

std::unique_ptr<Scheduler> MakeSuccessiveHalving(
    const StudySpec& spec);  // one kind of bracket, again and again
std::unique_ptr<Scheduler> MakeHyperband(const StudySpec& spec);
std::unique_ptr<Scheduler> MakeAsha(
    const StudySpec& spec);  // promotion or stopping type, one or several brackets
std::unique_ptr<Scheduler> MakePasha(const StudySpec& spec);
std::unique_ptr<Scheduler> MakeMedianStop(const StudySpec& spec);
std::unique_ptr<Scheduler> MakeNoScheduler(const StudySpec& spec);
std::unique_ptr<Scheduler> MakeAutoLadder(const StudySpec& spec);  // auto_ladder.h

// What every verdict says about itself: {"scheduler", "rung", "loss", "place", "of", "promotes"}.
std::string VerdictInputs(const char* scheduler, const Bracket& bracket, int level, const RungEntry& entry,
                          int promotes);
// Where no more trials come: those that wait are stopped.
std::vector<Verdict> StopWaiting(const char* scheduler, const Bracket& bracket);

}  // namespace rung
