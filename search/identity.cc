// What a result depends on, as one hash, so that nothing is trained twice (docs/design.md, "Identity").
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "search/study_state.h"

namespace rung {
namespace {

// Grows whenever the built-in trainer would give other numbers for the same inputs.
constexpr int kTrainerVersion = 1;

}  // namespace

// Not a program of the user's that does not promise to be deterministic. Nor where nobody knows the bytes of
// the data or the program, as with --no-check: they may be others the next time.
bool Study::State::IsRepeatable() const {
  const bool command = spec.trainer.value("type", "") == "command";
  return !data_sha256.empty() && (!command || spec.trainer.value("deterministic", false));
}

// Empty where a run cannot be repeated.
std::string Study::State::Identity(const Job& job) const {
  if (!IsRepeatable()) return "";
  const nlohmann::json& trainer = spec.trainer;
  const double budget = budgets[static_cast<size_t>(job.rung)];
  const bool resume = spec.budget.on_promotion == OnPromotion::kResume;
  const std::optional<int> fold = spec.FoldOf(job.replicate);
  nlohmann::json identity = {{"kind", Name(job.kind)},
                             {"config", ToJson(Trial(job.trial).config)},
                             {"trainer", trainer},
                             {"trainer_version", kTrainerVersion},
                             {"data_sha256", data_sha256},
                             {"budget_unit", Name(spec.budget.unit)},
                             {"budget", budget},
                             {"on_promotion", Name(spec.budget.on_promotion)},
                             {"schedule_budget", resume ? spec.budget.max : budget},
                             {"report", Name(spec.objective.report)},
                             {"seed", spec.SeedOf(job.replicate)},
                             {"fold", fold.has_value() ? nlohmann::json(*fold) : nlohmann::json(nullptr)}};
  // "best" keeps the best value of one metric in one direction.
  if (spec.objective.report == ReportRule::kBest) {
    identity["objective"] = {spec.objective.metric, Name(spec.objective.goal)};
  }
  return Sha256Hex(identity.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace rung
