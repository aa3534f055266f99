// The search of type `auto`: sampler and scheduler in one, because what to try and how far to train it are
// one question to one model. Recipe: docs/design.md, "Search". It keeps no state: a decision is a function of
// (standings, history, random numbers), so any of them can be replayed. Immutable; thread-safe.
#pragma once

#include <optional>

#include "search/brackets/scheduler.h"
#include "search/rng.h"
#include "search/samplers/encoding.h"
#include "search/samplers/sampler.h"
#include "search/study_spec.h"

namespace rung {

class AutoPolicy {
 public:
  // The spec must outlive the policy.
  explicit AutoPolicy(const StudySpec& spec);

  struct Pick {
    std::optional<Verdict> promotion;  // a known config goes up by one rung; else
    Proposal proposal;                 // a new one starts
    int bracket = 0, first_rung = 0;   // there
  };
  // What a free worker does next; nullopt: nothing, at least until a result comes. Promotions of the start
  // are the ladder's (brackets/auto_ladder.h) and come before.
  std::optional<Pick> Next(const Standings& standings, const History& history, Rng& rng) const;

  // The budget is spent: nothing starts or climbs any more. False where another rule ends the search.
  bool Over(const std::vector<Bracket>& brackets) const;
  // False: Next has nothing, and will have nothing before another result.
  bool MayGoOn(const Standings& standings, const History& history) const;

 private:
  Pick Start(const Standings& standings, const History& history, Rng& rng) const;
  std::optional<Pick> AtOnce(const History& history, Rng& rng) const;
  std::optional<Pick> MostPromising(const Standings& standings, const History& history, Rng& rng) const;
  Pick Random(const History& history, Rng& rng, const char* why) const;
  bool FewResults(const History& history) const;
  // A config that is neither on its way nor due by the quota may go on: not where stop.trials ended the
  // starts, but where the space has no more.
  bool MayClimbFreely(const Standings& standings, const History& history) const;
  bool AtOnceIsDue(const Standings& standings, const History& history) const;

  const StudySpec& spec_;
  const Encoding encoding_;
  const FreshConfigs fresh_;
  const int top_;       // the highest rung
  const double limit_;  // budget units of one replicate
};

}  // namespace rung
