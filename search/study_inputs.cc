// What happens to a study: results, failures, losses, checkpoints, time, requests. Each becomes an event, and
// so does what follows from it (study_decide.cc).
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "search/study_state.h"

namespace rung {

std::vector<Event> Study::OnResult(const Job& job, int64_t attempt, const ResultValues& result, Stamp stamp) {
  if (job.kind == AttemptKind::kTrain) {
    const std::string& metric = state_->spec.objective.metric;
    const auto score = result.values.find(metric);
    if (score == result.values.end()) {
      return OnFailure(job, attempt, FailureCause::kCrash, "the result has no " + metric, stamp,
                       {result.charged, result.device_seconds});
    }
    if (!std::isfinite(score->second)) {
      return OnFailure(job, attempt, FailureCause::kDiverged,
                       absl::StrFormat("%s = %g is not finite", metric, score->second), stamp,
                       {result.charged, result.device_seconds});
    }
  }
  std::vector<Event> events;
  Event event = About(EventKind::kResult, job);
  event.attempt = attempt;
  event.result = result;
  event.identity = state_->Identity(job);
  state_->Emit(std::move(event), stamp, events);
  state_->Settle(stamp, events);
  return events;
}

std::vector<Event> Study::OnFailure(const Job& job, int64_t attempt, FailureCause cause,
                                    const std::string& message, Stamp stamp, const Spent& spent) {
  std::vector<Event> events;
  Event event = About(EventKind::kAttemptFailed, job);
  event.spent = spent;
  event.attempt = attempt;
  event.cause = cause;
  event.message = message;
  state_->Emit(std::move(event), stamp, events);
  // The data are the study's, not this config's: nothing is blamed, a person mends them and resumes.
  if (cause == FailureCause::kBadData) state_->Pause("bad data: " + message, stamp, events);
  state_->GiveUp(message, stamp, events);
  state_->Settle(stamp, events);
  return events;
}

std::vector<Event> Study::OnLoss(const Job& job, int64_t attempt, LossReason reason,
                                 const std::string& message, Stamp stamp, const Spent& spent) {
  std::vector<Event> events;
  Event event = About(EventKind::kAttemptLost, job);
  event.spent = spent;
  event.attempt = attempt;
  event.loss = reason;
  event.message = message;
  state_->Emit(std::move(event), stamp, events);
  if (state_->given_up_in_a_row >= kMaxGivenUp) {
    state_->Pause(absl::StrFormat("%d trials in a row lost their workers %d times each: %s", kMaxGivenUp,
                                  kMaxLosses, message),
                  stamp, events);
  }
  state_->Settle(stamp, events);
  return events;
}

std::vector<Event> Study::OnCheckpoint(const Job& job, int64_t attempt, double budget, Stamp stamp) {
  std::vector<Event> events;
  Event event = About(EventKind::kCheckpoint, job);
  event.attempt = attempt;
  event.result.charged = budget;
  state_->Emit(std::move(event), stamp, events);
  return events;
}

std::vector<Event> Study::OnActiveTime(absl::Duration active_time, Stamp stamp) {
  std::vector<Event> events;
  const std::optional<absl::Duration>& limit = state_->spec.stop.wall_time;
  if (!limit.has_value() || active_time < *limit || state_->state != StudyState::kRunning) return events;
  Event event = About(EventKind::kStudyState, {});
  event.study_state = StudyState::kStopping;
  event.message = kWallTimeOver;
  state_->Emit(std::move(event), stamp, events);
  state_->Settle(stamp, events);
  return events;
}

absl::StatusOr<std::vector<Event>> Study::OnRequest(StudyState wanted, const std::string& reason,
                                                    Stamp stamp) {
  const StudyState now = state_->state;
  RUNG_CHECK(
      wanted == StudyState::kPaused || wanted == StudyState::kRunning || wanted == StudyState::kStopping,
      "pause, resume or stop");
  if (IsFinished(now)) {
    const char* verb = wanted == StudyState::kPaused    ? "paused"
                       : wanted == StudyState::kRunning ? "resumed"
                                                        : "stopped";
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0340", absl::StrFormat("study %s is %s and cannot be %s", state_->spec.name, Name(now), verb),
         state_->spec.name, Name(now), "Create a study under another name to search on"});
  }
  std::vector<Event> events;
  Event event = About(EventKind::kStudyState, {});
  event.study_state = wanted;
  event.message = reason;
  switch (wanted) {
    case StudyState::kPaused:
      if (now == StudyState::kPaused) return events;
      if (now == StudyState::kStopping) {
        return MakeError(
            absl::StatusCode::kFailedPrecondition,
            {"E0341", absl::StrFormat("study %s is stopping and cannot be paused", state_->spec.name),
             state_->spec.name, Name(now), "Wait until it has stopped"});
      }
      break;
    case StudyState::kRunning:
      if (now != StudyState::kPaused) return events;
      event.study_state = state_->before_pause;
      break;
    default:
      if (now == StudyState::kStopping && state_->stop_asked) return events;
      event.message = reason.empty() ? kAskedToStop : absl::StrFormat("%s: %s", kAskedToStop, reason);
      break;
  }
  state_->Emit(std::move(event), stamp, events);
  state_->Settle(stamp, events);
  return events;
}

}  // namespace rung
