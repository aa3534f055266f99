// What a result depends on, as one hash, so that nothing is trained twice (docs/design.md, "Identity").
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "search/study_state.h"

namespace rung {
namespace {

// Grows whenever the built-in trainer would give other numbers for the same inputs.
constexpr int kTrainerVersion = 1;

}  // namespace

// Empty where a run cannot be repeated: a program of the user's that does not promise to be deterministic.
std::string Study::State::Identity(const Job& job) const {
  const nlohmann::json& trainer = spec.trainer;
  const bool command = trainer.value("type", "") == "command";
  if (command && !trainer.value("deterministic", false)) return "";
  // Nobody knows the bytes of the data or the program, as with --no-check: they may be others the next time.
  if (data_sha256.empty()) return "";
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
