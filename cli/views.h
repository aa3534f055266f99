// What the coordinator says, as JSON for scripts (snake_case, UTC, ids apart, null + state where a number is
// not finite) and as words for people. Pure functions; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "proto/rung/v1/rung.pb.h"
#include "search/study_spec.h"

namespace rung {

using OrderedJson = nlohmann::ordered_json;

OrderedJson StudyJson(const v1::StudyStatus& study);
// What became of the workers' time: "3.0 h trained, 12 s running, 40 s lost, 2.0 min idle, 9 s unaccounted".
// allocated_seconds: of theirs that Slurm gave; nullopt: nobody says.
std::string WorkersText(const v1::StudyStatus& study, std::optional<double> allocated_seconds);
// Of allocated_seconds, what the study's account does not have: workers that started, or ended unheard.
double UnaccountedSeconds(const v1::StudyStatus& study, double allocated_seconds);
OrderedJson TrialJson(const v1::TrialRow& trial);
OrderedJson WorkerJson(const v1::WorkerRow& worker);
OrderedJson AttemptJson(const v1::AttemptRow& attempt);
OrderedJson EventJson(const v1::EventRow& event);
OrderedJson PointJson(const v1::CurvePoint& point);
// {"values": {name: number | null}, "states": {name: "nan" | "inf" | "-inf"}}; states only where one is not
// finite.
OrderedJson MetricsJson(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics);
// {"schema": 1} to which a command adds its own.
OrderedJson JsonDocument();

const char* KindName(v1::AttemptKind kind);  // train | evaluate
std::string MetricText(const v1::Metric& metric);
// "0.875"; with " (rung 0)" where it is not the rung's that the trial is at; "-" without one.
std::string ScoreText(const v1::TrialRow& trial);
const v1::Metric* FindMetric(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics,
                             const std::string& name);
// The metric's value where it is there and finite.
std::optional<double> FiniteMetric(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics,
                                   const std::string& name);

// "learning_rate=3e-05 optimizer_name=AdamW"
std::string ConfigText(const std::string& config_json);
// "1 epoch", "9 epochs"
std::string AmountText(double budget, BudgetUnit unit);
// "rung 2: 9 epochs"
std::string BudgetText(int rung, double budget, BudgetUnit unit);

// The study's specification from its canonical JSON. A failure is a bug or a newer coordinator: Internal
// (E0384).
absl::StatusOr<StudySpec> SpecOf(const v1::StudyStatus& study);

inline constexpr char kNoWorkers[] = "no workers";
inline constexpr char kNoWorkersMend[] =
    "no workers: go on with `rung run FILE`, or start some with `rung worker start`";

// Why a study that should run does not: kNoWorkers, or "the workers are busy with study X"; empty where
// somebody works for it or could.
std::string Hindrance(const v1::StudyStatus& study, const std::vector<v1::WorkerRow>& workers,
                      const std::vector<v1::StudyStatus>& studies);

// Best first: the highest rung, then the score by the goal, then the older trial. Trials without a score are
// dropped.
std::vector<v1::TrialRow> BestFirst(std::vector<v1::TrialRow> trials, Goal goal);

// Is it over: done, stopped or failed.
bool IsOver(const v1::StudyStatus& study);
bool IsOverState(const std::string& state);

}  // namespace rung
