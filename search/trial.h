// The nouns of a search and their ids: study, trial, rung, replicate, attempt (docs/design.md, "Words").
// Values only; thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

namespace rung {

// IDs are types: a TrialId cannot be passed where a StudyId is meant.
template <typename Tag>
struct Id {
  int64_t value = 0;  // from 1; 0 = none
  friend auto operator<=>(const Id&, const Id&) = default;
};
using StudyId = Id<struct StudyTag>;
using TrialId = Id<struct TrialTag>;  // within its study

// A value of a parameter keeps its JSON type.
using Value = std::variant<bool, int64_t, double, std::string>;

// One assignment of the *active* parameters.
using Config = std::map<std::string, Value>;

enum class AttemptKind { kTrain, kEvaluate };

// What is to be run: the key of a result. Rungs count from 0; a trial at rung r has budget RungBudgets[r].
struct Job {
  TrialId trial;
  int rung = 0;
  int replicate = 0;
  AttemptKind kind = AttemptKind::kTrain;
  friend auto operator<=>(const Job&, const Job&) = default;
};

// One execution of a job by a worker; `attempt` (from 1, per job) is the fencing number.
struct AttemptKey {
  StudyId study;
  Job job;
  int64_t attempt = 0;
  friend auto operator<=>(const AttemptKey&, const AttemptKey&) = default;
};

enum class TrialState {
  kQueued,     // waits for a worker
  kRunning,    // an attempt is leased
  kWaiting,    // its rung is not decided yet
  kCompleted,  // reached the last rung of its bracket
  kStopped,    // not promoted
  kFailed,     // a config failure, or infrastructure losses past their limit
};

// Why a trial FAILED. None of them is a score.
enum class FailureCause { kOutOfMemory, kDiverged, kBadData, kCrash, kInfrastructure };

// Why an attempt ended without a result and without blame for its config. kOutage: its worker was lost, and
// the coordinator that had granted it was gone, too.
enum class LossReason { kReleased, kLost, kKilled, kOutage };

// Where a trial comes from; stored, so that every proposal can be replayed and explained (`rung trial why`).
struct Origin {
  enum class Source { kEnqueued, kRandom, kModel, kGrid } source = Source::kRandom;
  int64_t as_of = 0;             // seq of the last event the decision saw
  std::vector<TrialId> pending;  // trials without a result then
  int model_rung = -1;           // kModel: the rung whose densities proposed it
  std::string detail_json;       // sampler version, fitted parameters, candidates' score
};
const char* Name(Origin::Source);  // enqueued | random | model | grid

// Of budgets, in any unit, and of seconds: what is more is a mistake, and would make sums infinite.
inline constexpr double kMaxAmount = 1e15;
inline bool IsAmount(double value) {
  return value >= 0 && value <= kMaxAmount;  // NaN is none
}

// What a worker reports at the end of an attempt. Metric names like "validation/accuracy"
// (docs/trainer-messages.md); values may be non-finite.
struct ResultValues {
  std::map<std::string, double> values;
  std::map<std::string, std::string> outputs;  // name -> path
  double charged = 0;                          // budget really read since the resume point, in budget units
  double device_seconds = 0;                   // of this attempt
};

}  // namespace rung
