// A study as its author wrote it: data + space + objective + budget + algorithm + stop rule. Parsed once,
// here; the wire and the store carry CanonicalJson(). Immutable after Parse; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/algorithm.h"
#include "search/budget.h"
#include "search/space.h"
#include "search/trial.h"

namespace rung {

enum class Goal { kMaximize, kMinimize };
enum class Aggregate { kMean, kMedian, kMin };
enum class ReportRule { kLast, kBest };

struct Objective {
  std::string metric = "validation/accuracy";
  Goal goal = Goal::kMaximize;
  std::vector<int64_t> seeds;  // default [study.seed]
  Aggregate aggregate = Aggregate::kMean;
  ReportRule report = ReportRule::kLast;
};

struct Enqueued {
  Config config;
  bool to_max = false;  // runs through all rungs outside the brackets; its results feed the model
};

struct StudySpec {
  std::string name;  // ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$
  std::string description;
  nlohmann::json
      trainer;  // object with "type"; checked key by key by worker/text/trainer_options.h before create
  Objective objective;
  Budget budget;
  Algorithm algorithm;
  Space space;
  StopRule stop;
  std::vector<Enqueued> enqueue;
  int64_t seed = 0;

  static constexpr int64_t kMaxFileBytes = 256 * 1024;

  // Reads a study file's text. `where` names it in errors ("study.json"). A relative path as "space" is read
  // from base_directory, and so are the data paths inside trainer (train, validation, test, cwd, data), which
  // become absolute; model names stay as written, and so do the values of a searched "data". Errors:
  // InvalidArgument with E02xx/E03xx and where = file:line:column; NotFound or PermissionDenied (E0310) for
  // the space's file.
  static absl::StatusOr<StudySpec> Parse(const std::string& text, const std::string& where,
                                         const std::string& base_directory);

  // Keys sorted, defaults filled in, no blanks; Parse(CanonicalJson()) gives the same spec.
  std::string CanonicalJson() const;

  // k of validation {"folds": k}, else 1; replicates = seeds x folds, seed outer.
  int Folds() const;
  int Replicates() const { return static_cast<int>(objective.seeds.size()) * Folds(); }
  int64_t SeedOf(int replicate) const { return objective.seeds[static_cast<size_t>(replicate / Folds())]; }
  std::optional<int> FoldOf(int replicate) const;

  // Budgets of rungs 0..R-1, increasing; budget_i = max * eta^-(R-1-i) (BOHB: Falkner et al. 2018, Alg. 2;
  // design in docs/design.md). Rungs are identified by index, never by comparing budgets. {max} for random
  // and grid.
  std::vector<double> RungBudgets() const;
};

// Study and state-directory names: never paths. ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$
bool IsValidName(const std::string& name);

const char* Name(Goal);
const char* Name(Aggregate);
const char* Name(ReportRule);
const char* Name(AttemptKind);   // train | evaluate
const char* Name(TrialState);    // queued | running | waiting | completed | stopped | failed
const char* Name(FailureCause);  // out_of_memory | diverged | bad_data | crash | infrastructure
const char* Name(LossReason);    // released | lost | killed

}  // namespace rung
