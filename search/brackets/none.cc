// No scheduler: every trial trains at budget.max at once.
#include "search/brackets/scheduler.h"

namespace rung {
namespace {

class NoScheduler final : public Scheduler {
 public:
  explicit NoScheduler(const StudySpec& spec) : spec_(spec) {}

  BracketPlan Plan(int) const override { return {0, {spec_.stop.trials.value_or(0)}}; }
  std::vector<Verdict> Judge(const Standings&, const Bracket&) const override { return {}; }
  Step Next(const Standings& standings, const Bracket& bracket) const override {
    if (!standings.can_create) return {};
    return {std::nullopt, bracket.first_rung};
  }

 private:
  const StudySpec& spec_;
};

}  // namespace

std::unique_ptr<Scheduler> MakeNoScheduler(const StudySpec& spec) {
  return std::make_unique<NoScheduler>(spec);
}

}  // namespace rung
