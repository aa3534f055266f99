// The state machine of one study. It is pure: decisions are functions of the events applied so far (plus the
// known results of other studies); nothing here reads a clock, a file or a random device. The coordinator
// persists a decision's events and applies them; recovery applies the stored events again and reaches the
// same state. Not thread-safe: the coordinator's core thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "search/study_spec.h"
#include "search/trial.h"

namespace rung {

enum class StudyState { kRunning, kPaused, kStopping, kEvaluating, kDone, kStopped, kFailed };
const char* Name(StudyState);
bool IsFinished(StudyState);  // done, stopped, failed

enum class EventKind {
  kTrialCreated,    // trial, config, origin, bracket, first_rung
  kAttemptGranted,  // job, attempt, worker, resume_attempt
  kAttemptLost,     // job, attempt, loss, message, spent: infrastructure, never the config
  kAttemptFailed,   // job, attempt, cause, message, spent: a config failure
  kCheckpoint,      // job, attempt, result.charged = budget reached
  kResult,          // job, attempt, result, identity; copied_from where it was copied
  kPromoted,        // trial goes on to `rung`
  kTrialFinished,   // trial, trial_state (completed | stopped | failed), message
  kStudyState,      // study_state, message
};
const char* Name(EventKind);

struct CopiedFrom {
  StudyId study;
  Job job;
};

// What an attempt without a result used: budget up to its last checkpoint, and time on its device.
struct Spent {
  double charged = 0;
  double device_seconds = 0;
};

struct Event {
  int64_t seq = 0;  // grows over all studies of a store; 0 until stored
  absl::Time at;
  EventKind kind = EventKind::kStudyState;
  Job job;  // job.trial alone where a trial is meant; kPromoted: job.rung = the new rung
  int64_t attempt = 0;
  // Payloads, by kind:
  Config config;
  Origin origin;
  int bracket = -1;  // -1: outside the brackets
  int first_rung = 0;
  std::string worker;
  int64_t resume_attempt = 0;  // attempt whose checkpoint is continued; 0: none
  int resume_rung = -1;        // the rung of this trial that it stands for
  LossReason loss = LossReason::kLost;
  FailureCause cause = FailureCause::kCrash;
  Spent spent;
  ResultValues result;
  std::string identity;
  std::optional<CopiedFrom> copied_from;
  TrialState trial_state = TrialState::kQueued;
  StudyState study_state = StudyState::kRunning;
  std::string message;
  std::string
      decision_json;  // kPromoted, kTrialFinished: what the scheduler saw; empty where it was not asked
};

// Results of all studies by identity (docs/design.md, "Identity"), so that nothing is trained twice. Only
// those whose checkpoint still exists: a copy may be promoted, and its model may be the one that is wanted at
// the end.
class KnownResults {
 public:
  struct Known {
    CopiedFrom source;
    ResultValues result;
    int64_t attempt = 0;  // whose checkpoint it stands for
  };
  virtual ~KnownResults() = default;
  virtual std::optional<Known> Find(const std::string& identity) const = 0;
  virtual bool InTraining(const std::string& identity) const = 0;  // by a leased attempt of any study
};

// Time and numbering of the events that a decision makes; both belong to the caller.
struct Stamp {
  absl::Time at;
  int64_t& next_seq;  // advanced by one for each event
};

// Why there is nothing to do.
enum class Idle { kWait, kPaused, kDone };

struct Decision {
  std::vector<Event> events;  // to be stored, in order; may be non-empty even with no job
  std::optional<Job> job;     // what to grant
  Idle idle = Idle::kWait;    // where there is no job
};

struct ReplicateView {
  std::optional<ResultValues> result;
  int64_t attempts = 0;  // granted so far
  int64_t result_attempt = 0;
  int64_t checkpoint_attempt = 0;  // whose checkpoint the result stands for
  int losses = 0;
  Spent without_result;  // all of its lost and failed attempts
  bool running = false;
  std::optional<CopiedFrom> copied_from;
};

struct RungView {
  std::vector<ReplicateView> replicates;
  std::optional<double> score;  // objective.aggregate of all replicates, once all have results and are finite
};

struct TrialView {
  TrialId id;
  Config config;
  Origin origin;  // without `pending`, which its event has
  int bracket = -1;
  int first_rung = 0;
  int last_rung = 0;  // the last rung it may reach in its bracket
  int rung = 0;       // where it is now
  TrialState state = TrialState::kQueued;
  std::optional<FailureCause> cause;
  std::string message;
  std::map<int, RungView> rungs;
  std::optional<ResultValues> evaluation;  // result of kind evaluate
  int64_t evaluation_attempt = 0;
  absl::Time created_at;
};

struct Incumbent {
  TrialId trial;
  int rung = 0;
  double score = 0;
};

class Study {
 public:
  // Losses of one job in a row without a newer checkpoint; then its trial fails with cause infrastructure. An
  // orderly release (drain, end of a Slurm job) is not counted.
  static constexpr int kMaxLosses = 5;
  // Trials that end so without a result of any other between them; then the study is paused: nothing runs on
  // these machines.
  static constexpr int kMaxGivenUp = 3;

  // data_sha256: path -> sha256 of the files named in the spec, part of a result's identity.
  Study(StudyId id, StudySpec spec, std::map<std::string, std::string> data_sha256);
  ~Study();
  Study(Study&&) noexcept;
  Study& operator=(Study&&) noexcept;

  // Recovery: applies a stored event. Events come in seq order; one that breaks the rules is a bug
  // (RUNG_CHECK).
  void Apply(const Event& event);

  // Decisions. Each applies what it decides and returns the events, stamped, for the caller to store before
  // it answers anybody; a caller that cannot store them must end the process.

  // A worker is free: what should it run? Copies known results on the way. Deterministic.
  Decision NextWork(const KnownResults& known, Stamp stamp);
  // The job goes to a worker: the event has the new attempt number and the resume point.
  Event Grant(const Job& job, const std::string& worker, Stamp stamp);
  // What follows from a report that the coordinator accepted (fencing is its business): the result or failure
  // itself, then promotions, finished trials, stop rules, study state. A non-finite objective becomes a
  // failure (diverged). `spent` goes into the accounts; it is stored, so that a log without it stays as it
  // was decided.
  std::vector<Event> OnResult(const Job& job, int64_t attempt, const ResultValues& result, Stamp stamp);
  std::vector<Event> OnFailure(const Job& job, int64_t attempt, FailureCause cause,
                               const std::string& message, Stamp stamp, const Spent& spent = {});
  std::vector<Event> OnLoss(const Job& job, int64_t attempt, LossReason reason, const std::string& message,
                            Stamp stamp, const Spent& spent = {});
  // The worker wrote a checkpoint of this attempt: if it is lost later, the next attempt resumes from there.
  std::vector<Event> OnCheckpoint(const Job& job, int64_t attempt, double budget, Stamp stamp);
  // Stop rules that depend on time; active_time counts while the study is RUNNING, kept across restarts by
  // the caller.
  std::vector<Event> OnActiveTime(absl::Duration active_time, Stamp stamp);
  // pause (kPaused) | resume (kRunning) | stop (kStopping) asked by a person. Errors: FailedPrecondition
  // (E0340).
  absl::StatusOr<std::vector<Event>> OnRequest(StudyState wanted, const std::string& reason, Stamp stamp);

  // Whether a running attempt of this job still serves: false once its trial is finished (another replicate
  // failed), and for all after a person asked to stop, or wall_time or gpu_hours was reached. The coordinator
  // then tells its worker to stop (and OnLoss follows).
  bool Wanted(const Job& job) const;

  // No more than so many attempts will ever run at once from now on; nullopt: no such number is known.
  std::optional<int64_t> MostAtOnce() const;

  // Whether OnResult may be called for an attempt that was lost: its job is wanted and nobody has taken it
  // since, so what the attempt trained in the end is as good as what another would train.
  bool TakesLate(const Job& job, int64_t attempt) const;

  // The attempt whose checkpoint `job` continues from: (rung, attempt), or nullopt to start anew.
  struct ResumePoint {
    int rung = 0;  // of the study that has the checkpoint
    int64_t attempt = 0;
    TrialId trial;  // differs from job.trial where the result was copied
    StudyId study;
    int replicate = 0;   // may differ from job.replicate where the result was copied
    int stands_for = 0;  // the rung of this trial that is continued
  };
  std::optional<ResumePoint> ResumeFrom(const Job& job) const;

  // sha256 that names what a result of `job` depends on (docs/design.md, "Identity").
  std::string Identity(const Job& job) const;

  StudyId id() const;
  const StudySpec& spec() const;
  StudyState state() const;
  const std::string& state_message() const;
  int64_t last_seq() const;
  std::vector<TrialId> trials() const;
  bool Has(TrialId id) const;
  const TrialView& trial(TrialId id) const;
  std::optional<Incumbent> incumbent() const;
  double device_seconds() const;  // of all attempts that ended
  double lost_seconds() const;    // of these, since the last checkpoint of those that were lost or released
  double budget_charged() const;  // budget units really trained
  double budget_saved() const;    // by resume and by copies, in budget units
  // Brackets opened so far, each with (rung, trials in, results, promoted).
  struct BracketView {
    int index = 0;
    std::vector<int> planned;  // n_i of its rungs
    int first_rung = 0;
    std::vector<int> entered, finished;
    bool closed = false;
  };
  std::vector<BracketView> brackets() const;
  int planned_brackets() const;  // of the stop rule, or one full set

  struct State;  // study_state.h

 private:
  std::unique_ptr<State> state_;
};

// The plan shown before anything runs.
struct PlanRow {
  int bracket = 0;
  std::vector<int> trials;      // n_i
  std::vector<double> budgets;  // of those rungs
  double cost_resume = 0;       // in full budgets (budget.max), of all replicates
  double cost_restart = 0;
};
std::vector<PlanRow> Plan(const StudySpec& spec);

}  // namespace rung
