#include "proto/wire.h"

#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/status.h"
#include "search/plan.h"

namespace rung {
namespace {

v1::ReplicateResult ReplicateToWire(int replicate, const ReplicateView& view) {
  v1::ReplicateResult row;
  row.set_replicate(replicate);
  row.set_attempt(view.result_attempt);
  row.set_attempts(static_cast<int32_t>(view.attempts));
  row.set_losses(view.losses);
  if (view.copied_from.has_value()) {
    row.set_copied_from(std::to_string(view.copied_from->study.value) + "/" +
                        std::to_string(view.copied_from->job.trial.value));
    row.set_copied_rung(view.copied_from->job.rung);
    row.set_copied_replicate(view.copied_from->job.replicate);
  }
  row.set_checkpoint_attempt(view.checkpoint_attempt);
  row.set_charged(view.without_result.charged);
  row.set_device_seconds(view.without_result.device_seconds);
  if (!view.result.has_value()) return row;
  for (const auto& [name, value] : view.result->values) *row.add_values() = ToWire(name, value);
  for (const auto& [name, path] : view.result->outputs) (*row.mutable_outputs())[name] = path;
  if (view.copied_from.has_value()) return row;
  row.set_charged(row.charged() + view.result->charged);
  row.set_device_seconds(row.device_seconds() + view.result->device_seconds);
  return row;
}

v1::Bracket BracketToWire(const Study::BracketView& view) {
  v1::Bracket bracket;
  bracket.set_index(view.index);
  bracket.set_first_rung(view.first_rung);
  for (const int n : view.planned) bracket.add_planned(n);
  for (const int n : view.entered) bracket.add_entered(n);
  for (const int n : view.finished) bracket.add_finished(n);
  bracket.set_closed(view.closed);
  return bracket;
}

}  // namespace

grpc::Status ToWire(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string details;
  if (const auto detail = GetErrorDetail(status); detail.has_value()) {
    v1::ErrorDetail message;
    message.set_code(detail->code);
    message.set_message(detail->message);
    message.set_where(detail->where);
    message.set_value(detail->value);
    message.set_mend(detail->mend);
    details = message.SerializeAsString();
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()), details);
}

absl::Status FromWire(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // A server that shuts down cancels the calls it still has; for who asked it is gone.
  const auto code = status.error_code() == grpc::StatusCode::CANCELLED
                        ? absl::StatusCode::kUnavailable
                        : static_cast<absl::StatusCode>(status.error_code());
  v1::ErrorDetail message;
  if (status.error_details().empty() || !message.ParseFromString(status.error_details())) {
    return absl::Status(code, status.error_message());
  }
  return MakeError(code,
                   {message.code(), message.message(), message.where(), message.value(), message.mend()});
}

v1::AttemptKind ToWire(AttemptKind kind) {
  return kind == AttemptKind::kTrain ? v1::ATTEMPT_KIND_TRAIN : v1::ATTEMPT_KIND_EVALUATE;
}

AttemptKind FromWire(v1::AttemptKind kind) {
  return kind == v1::ATTEMPT_KIND_EVALUATE ? AttemptKind::kEvaluate : AttemptKind::kTrain;
}

v1::JobKey ToWire(const AttemptKey& key) {
  v1::JobKey wire;
  wire.set_study(key.study.value);
  wire.set_trial(key.job.trial.value);
  wire.set_rung(key.job.rung);
  wire.set_replicate(key.job.replicate);
  wire.set_kind(ToWire(key.job.kind));
  wire.set_attempt(key.attempt);
  return wire;
}

AttemptKey FromWire(const v1::JobKey& key) {
  AttemptKey attempt;
  attempt.study = StudyId{key.study()};
  attempt.job.trial = TrialId{key.trial()};
  attempt.job.rung = key.rung();
  attempt.job.replicate = key.replicate();
  attempt.job.kind = FromWire(key.kind());
  attempt.attempt = key.attempt();
  return attempt;
}

v1::Metric ToWire(const std::string& name, double value) {
  v1::Metric metric;
  metric.set_name(name);
  if (std::isfinite(value)) {
    metric.set_value(value);
    metric.set_state(v1::NUMBER_STATE_FINITE);
  } else if (std::isnan(value)) {
    metric.set_state(v1::NUMBER_STATE_NAN);
  } else {
    metric.set_state(value > 0 ? v1::NUMBER_STATE_INF_POSITIVE : v1::NUMBER_STATE_INF_NEGATIVE);
  }
  return metric;
}

double FromWire(const v1::Metric& metric) {
  switch (metric.state()) {
    case v1::NUMBER_STATE_FINITE:
      return metric.value();
    case v1::NUMBER_STATE_INF_POSITIVE:
      return std::numeric_limits<double>::infinity();
    case v1::NUMBER_STATE_INF_NEGATIVE:
      return -std::numeric_limits<double>::infinity();
    default:  // NaN, and what a later version may send: not a number we can judge
      return std::numeric_limits<double>::quiet_NaN();
  }
}

v1::Result ToWire(const ResultValues& result) {
  v1::Result wire;
  for (const auto& [name, value] : result.values) *wire.add_values() = ToWire(name, value);
  for (const auto& [name, path] : result.outputs) (*wire.mutable_outputs())[name] = path;
  wire.set_charged(result.charged);
  wire.set_device_seconds(result.device_seconds);
  return wire;
}

ResultValues FromWire(const v1::Result& result) {
  ResultValues values;
  for (const v1::Metric& metric : result.values()) values.values[metric.name()] = FromWire(metric);
  for (const auto& [name, path] : result.outputs()) values.outputs[name] = path;
  values.charged = result.charged();
  values.device_seconds = result.device_seconds();
  return values;
}

v1::FailureCause ToWire(FailureCause cause) {
  switch (cause) {
    case FailureCause::kOutOfMemory:
      return v1::FAILURE_CAUSE_OUT_OF_MEMORY;
    case FailureCause::kDiverged:
      return v1::FAILURE_CAUSE_DIVERGED;
    case FailureCause::kBadData:
      return v1::FAILURE_CAUSE_BAD_DATA;
    case FailureCause::kCrash:
      return v1::FAILURE_CAUSE_CRASH;
    case FailureCause::kInfrastructure:
      return v1::FAILURE_CAUSE_INFRASTRUCTURE;
  }
  RUNG_CHECK(false, "a known failure cause");
}

FailureCause FromWire(v1::FailureCause cause) {
  switch (cause) {
    case v1::FAILURE_CAUSE_OUT_OF_MEMORY:
      return FailureCause::kOutOfMemory;
    case v1::FAILURE_CAUSE_DIVERGED:
      return FailureCause::kDiverged;
    case v1::FAILURE_CAUSE_BAD_DATA:
      return FailureCause::kBadData;
    case v1::FAILURE_CAUSE_INFRASTRUCTURE:
      return FailureCause::kInfrastructure;
    default:  // a cause that only a later version knows is a crash to this one
      return FailureCause::kCrash;
  }
}

v1::LossReason ToWire(LossReason reason) {
  switch (reason) {
    case LossReason::kReleased:
      return v1::LOSS_REASON_RELEASED;
    case LossReason::kLost:
    case LossReason::kOutage:  // no worker's reason: the coordinator finds it out
      return v1::LOSS_REASON_LOST;
    case LossReason::kKilled:
      return v1::LOSS_REASON_KILLED;
  }
  RUNG_CHECK(false, "a known loss reason");
}

LossReason FromWire(v1::LossReason reason) {
  switch (reason) {
    case v1::LOSS_REASON_RELEASED:
      return LossReason::kReleased;
    case v1::LOSS_REASON_KILLED:
      return LossReason::kKilled;
    default:
      return LossReason::kLost;
  }
}

v1::TrialRow ToWire(const Study& study, const TrialView& trial) {
  const std::vector<double> budgets = study.spec().RungBudgets();
  const auto budget_of = [&](int rung) {
    const auto index = static_cast<size_t>(rung);
    return index < budgets.size() ? budgets[index] : 0;
  };
  v1::TrialRow row;
  row.set_study(study.id().value);
  row.set_trial(trial.id.value);
  row.set_state(Name(trial.state));
  row.set_rung(trial.rung);
  row.set_budget(budget_of(trial.rung));
  row.set_config_json(CanonicalJson(trial.config));
  row.set_origin(Name(trial.origin.source));
  row.set_bracket(trial.bracket);
  if (trial.cause.has_value()) row.set_cause(Name(*trial.cause));
  row.set_message(trial.message);
  row.set_created_at_ms(absl::ToUnixMillis(trial.created_at));
  for (const auto& [rung, view] : trial.rungs) {
    v1::RungResult& result = *row.add_rungs();
    result.set_rung(rung);
    result.set_budget(budget_of(rung));
    for (size_t i = 0; i < view.replicates.size(); ++i) {
      *result.add_replicates() = ReplicateToWire(static_cast<int>(i), view.replicates[i]);
    }
    if (!view.score.has_value()) continue;
    *result.mutable_score() = ToWire(study.spec().objective.metric, *view.score);
    *row.mutable_score() = result.score();  // rungs ascend: the highest one with a score stays
    row.set_score_rung(rung);
  }
  if (trial.evaluation.has_value()) {
    for (const auto& [name, value] : trial.evaluation->values) *row.add_evaluation() = ToWire(name, value);
    for (const auto& [name, path] : trial.evaluation->outputs)
      (*row.mutable_evaluation_outputs())[name] = path;
  }
  return row;
}

v1::StudyStatus ToWire(const Study& study) {
  v1::StudyStatus status;
  status.set_id(study.id().value);
  status.set_name(study.spec().name);
  status.set_state(Name(study.state()));
  status.set_message(study.state_message());
  status.set_version(study.last_seq());
  status.set_canonical_json(study.spec().CanonicalJson());
  status.set_device_seconds(study.device_seconds());
  status.set_lost_seconds(study.lost_seconds());
  status.set_budget_charged(study.budget_charged());
  status.set_budget_saved(study.budget_saved());
  status.set_budget_planned(PlannedBudget(study.spec()));
  int running = 0;
  int proposed = 0;
  for (const TrialId id : study.trials()) {
    const TrialView& trial = study.trial(id);
    ++(*status.mutable_trials_by_state())[Name(trial.state)];
    if (trial.cause.has_value()) ++(*status.mutable_failures_by_cause())[Name(*trial.cause)];
    if (trial.origin.source == Origin::Source::kModel) ++proposed;
    for (const auto& [rung, view] : trial.rungs) {
      for (const ReplicateView& replicate : view.replicates) running += replicate.running ? 1 : 0;
    }
  }
  status.set_running_attempts(running);
  status.set_model_proposals(proposed);
  if (const auto incumbent = study.incumbent(); incumbent.has_value()) {
    *status.mutable_incumbent() = ToWire(study, study.trial(incumbent->trial));
  }
  for (const Study::BracketView& bracket : study.brackets()) *status.add_brackets() = BracketToWire(bracket);
  status.set_planned_brackets(study.planned_brackets());
  return status;
}

}  // namespace rung
