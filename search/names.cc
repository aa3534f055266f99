// The words for kinds and states, as they stand in JSON, tables and messages.
#include "search/study.h"
#include "search/study_spec.h"
#include "search/trial.h"

namespace rung {

const char* Name(Goal goal) {
  switch (goal) {
    case Goal::kMaximize:
      return "maximize";
    case Goal::kMinimize:
      return "minimize";
  }
  return "";
}

const char* Name(BudgetUnit unit) {
  switch (unit) {
    case BudgetUnit::kEpochs:
      return "epochs";
    case BudgetUnit::kSteps:
      return "steps";
    case BudgetUnit::kSamples:
      return "samples";
  }
  return "";
}

const char* Name(OnPromotion rule) {
  switch (rule) {
    case OnPromotion::kResume:
      return "resume";
    case OnPromotion::kRestart:
      return "restart";
  }
  return "";
}

const char* Name(AlgorithmType type) {
  switch (type) {
    case AlgorithmType::kAuto:
      return "auto";
    case AlgorithmType::kBohb:
      return "bohb";
    case AlgorithmType::kGp:
      return "gp";
    case AlgorithmType::kSmac:
      return "smac";
    case AlgorithmType::kTpe:
      return "tpe";
    case AlgorithmType::kDehb:
      return "dehb";
    case AlgorithmType::kPriorBand:
      return "priorband";
    case AlgorithmType::kSobol:
      return "sobol";
    case AlgorithmType::kHyperband:
      return "hyperband";
    case AlgorithmType::kRandom:
      return "random";
    case AlgorithmType::kGrid:
      return "grid";
  }
  return "";
}

const char* Name(SchedulerType scheduler) {
  switch (scheduler) {
    case SchedulerType::kHyperband:
      return "hyperband";
    case SchedulerType::kSuccessiveHalving:
      return "successive_halving";
    case SchedulerType::kAsha:
      return "asha";
    case SchedulerType::kAsyncHyperband:
      return "async_hyperband";
    case SchedulerType::kPasha:
      return "pasha";
    case SchedulerType::kMedianStop:
      return "median_stop";
    case SchedulerType::kNone:
      return "none";
    case SchedulerType::kAuto:
      return "auto";
  }
  return "";
}

const char* Name(Aggregate aggregate) {
  switch (aggregate) {
    case Aggregate::kMean:
      return "mean";
    case Aggregate::kMedian:
      return "median";
    case Aggregate::kMin:
      return "min";
  }
  return "";
}

const char* Name(ReportRule rule) {
  switch (rule) {
    case ReportRule::kLast:
      return "last";
    case ReportRule::kBest:
      return "best";
  }
  return "";
}

const char* Name(AttemptKind kind) {
  switch (kind) {
    case AttemptKind::kTrain:
      return "train";
    case AttemptKind::kEvaluate:
      return "evaluate";
  }
  return "";
}

const char* Name(TrialState state) {
  switch (state) {
    case TrialState::kQueued:
      return "queued";
    case TrialState::kRunning:
      return "running";
    case TrialState::kWaiting:
      return "waiting";
    case TrialState::kCompleted:
      return "completed";
    case TrialState::kStopped:
      return "stopped";
    case TrialState::kFailed:
      return "failed";
  }
  return "";
}

const char* Name(FailureCause cause) {
  switch (cause) {
    case FailureCause::kOutOfMemory:
      return "out_of_memory";
    case FailureCause::kDiverged:
      return "diverged";
    case FailureCause::kBadData:
      return "bad_data";
    case FailureCause::kCrash:
      return "crash";
    case FailureCause::kInfrastructure:
      return "infrastructure";
  }
  return "";
}

const char* Name(LossReason reason) {
  switch (reason) {
    case LossReason::kReleased:
      return "released";
    case LossReason::kLost:
      return "lost";
    case LossReason::kKilled:
      return "killed";
    case LossReason::kOutage:
      return "outage";
  }
  return "";
}

const char* Name(StudyState state) {
  switch (state) {
    case StudyState::kRunning:
      return "running";
    case StudyState::kPaused:
      return "paused";
    case StudyState::kStopping:
      return "stopping";
    case StudyState::kEvaluating:
      return "evaluating";
    case StudyState::kDone:
      return "done";
    case StudyState::kStopped:
      return "stopped";
    case StudyState::kFailed:
      return "failed";
  }
  return "";
}

bool IsFinished(StudyState state) {
  return state == StudyState::kDone || state == StudyState::kStopped || state == StudyState::kFailed;
}

const char* Name(EventKind kind) {
  switch (kind) {
    case EventKind::kTrialCreated:
      return "trial_created";
    case EventKind::kAttemptGranted:
      return "attempt_granted";
    case EventKind::kAttemptLost:
      return "attempt_lost";
    case EventKind::kAttemptFailed:
      return "attempt_failed";
    case EventKind::kCheckpoint:
      return "checkpoint";
    case EventKind::kResult:
      return "result";
    case EventKind::kPromoted:
      return "promoted";
    case EventKind::kTrialFinished:
      return "trial_finished";
    case EventKind::kStudyState:
      return "study_state";
  }
  return "";
}

const char* Name(Origin::Source source) {
  switch (source) {
    case Origin::Source::kEnqueued:
      return "enqueued";
    case Origin::Source::kRandom:
      return "random";
    case Origin::Source::kModel:
      return "model";
    case Origin::Source::kGrid:
      return "grid";
  }
  return "";
}

}  // namespace rung
