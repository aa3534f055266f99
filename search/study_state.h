// Inside of Study: what the events applied so far amount to. Private to search/study*.cc.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "search/auto_policy.h"
#include "search/brackets/scheduler.h"
#include "search/samplers/sampler.h"
#include "search/study.h"

namespace rung {

// A job that has no result yet.
struct OpenJob {
  int64_t attempts = 0;
  int64_t running = 0;             // the attempt that holds it; 0: none
  int64_t checkpoint_attempt = 0;  // the newest checkpoint of a lost or running attempt; 0: none
  double checkpoint_budget = 0;
  int losses_in_a_row = 0;                 // without a newer checkpoint
  Spent lost;                              // what its newest attempt was charged when it was lost
  double lost_seconds = 0;                 // of that, device time since its last checkpoint
  absl::Time granted_at, checkpointed_at;  // its newest attempt; infinite past: no checkpoint
  int base_rung = -1;                      // the rung whose result it continues; -1: trains from the start
};

struct Study::State {
  State(StudyId study_id, StudySpec study_spec, std::map<std::string, std::string> data);

  const StudyId id;
  const StudySpec spec;
  const std::map<std::string, std::string> data_sha256;
  const std::vector<double> budgets;
  const std::unique_ptr<Sampler> sampler;
  const std::unique_ptr<Scheduler> scheduler;
  const std::unique_ptr<AutoPolicy> policy;  // decides in the place of both; null for all but auto
  const size_t all_configs;                  // of a small finite space; 0: more than anybody lists
  std::vector<size_t> enqueued_outside,
      enqueued_slots;  // indexes of spec.enqueue: with and without `to: max`

  int64_t last_seq = 0;
  StudyState state = StudyState::kRunning;
  StudyState before_pause = StudyState::kRunning;
  std::string message, message_before_pause;
  bool stop_asked = false;
  bool interrupts = false;  // running attempts are to end now

  std::deque<TrialView> trials;  // by id - 1; a deque keeps the configs that the history points to in place
  std::set<TrialId> active;      // unfinished
  std::set<TrialId> pending;     // without a result at their rung
  std::set<TrialId>
      scored;  // got a score and go on without waiting for others: outside brackets, or at the last rung
  std::set<TrialId> failing;  // to be finished as failed
  std::map<Job, OpenJob> jobs;
  std::map<int, std::set<Job>> ready;  // by bracket; -1: outside, first
  std::set<Job> ready_evaluations;
  std::map<Job, OpenJob> evaluations;  // not done
  bool evaluations_planned = false;
  int running_attempts = 0;
  int given_up_in_a_row = 0;  // trials whose workers were lost too often, since the last result or pause

  std::vector<Bracket> brackets;
  std::set<int> open_brackets;  // a superset of those not closed
  size_t outside_created = 0, slots_created = 0;

  History history;
  std::unordered_set<uint64_t> observed;  // (config, rung) already in the history
  std::optional<Incumbent> incumbent;
  double device_seconds = 0, lost_seconds = 0, budget_charged = 0, budget_saved = 0;

  // ---- study_apply.cc
  void Apply(const Event& event);

  // ---- study.cc: questions
  TrialView& Trial(TrialId trial);
  const TrialView& Trial(TrialId trial) const;
  bool Searching() const;     // neither ending nor finished; also while paused
  bool TrialLeft() const;     // as far as stop.trials goes
  bool CanCreate() const;     // another trial, as far as stop.trials, the grid and the space go
  bool IsRepeatable() const;  // the same job gives the same result, which is copied
  // Every config has a trial, and more of them would be copies: nothing new is to be had but by promotions.
  bool IsUsedUp() const;
  std::optional<int> BracketLimit() const;
  Standings CurrentStandings() const { return {brackets, CanCreate()}; }
  bool Closed(const Bracket& bracket) const { return scheduler->Closed(CurrentStandings(), bracket); }
  bool SearchExhausted() const;  // auto: but for promotions that only its policy knows
  bool MayGrow() const;          // by trials that are not there yet
  int LastRung(const TrialView& trial) const;
  double Loss(double score) const;
  Bracket NewBracket(int index) const;
  bool MayHaveTest() const;
  std::vector<Job> EvaluationJobs() const;
  std::string Identity(const Job& job) const;
  std::optional<Study::ResumePoint> ResumeFrom(const Job& job) const;

  // ---- study_decide.cc: what follows from the state
  void Emit(Event event, Stamp stamp, std::vector<Event>& events);  // stamps, applies, appends
  // Auto: lets the policy start or promote a trial; false: it has nothing to do.
  bool CreateOrPromote(Stamp stamp, std::vector<Event>& events);
  // Ends a search that fails alike again and again; `why` is what a trial just failed by.
  void GiveUp(const std::string& why, Stamp stamp, std::vector<Event>& events);
  // Until a person has mended it; nothing where it does not go on anyway.
  void Pause(const std::string& why, Stamp stamp, std::vector<Event>& events);
  void Settle(Stamp stamp, std::vector<Event>& events);  // everything that is now decided
  void Create(int bracket, int first_rung, Stamp stamp, std::vector<Event>& events);
  void Carry(const Verdict& verdict, Stamp stamp, std::vector<Event>& events);  // out

 private:
  void ApplyCreated(const Event& event);
  void ApplyGranted(const Event& event);
  void ApplyLost(const Event& event);
  void ApplyFailed(const Event& event);
  void ApplyCheckpoint(const Event& event);
  void ApplyResult(const Event& event);
  void ApplyPromoted(const Event& event);
  void ApplyFinished(const Event& event);
  void ApplyStudyState(const Event& event);
  void EnterRung(TrialView& trial, int rung);
  RungStanding* StandingOf(const TrialView& trial);  // at its rung; nullptr outside brackets
  void LeaveRung(const TrialView& trial);            // it waits there no longer
  Event Creation(int bracket, int first_rung) const;
  void ShowPending();  // to samplers
  void EndAttempt(const Job& job, int64_t attempt);
  void TakeBack(const Job& job, int64_t attempt);
  void Charge(const Job& job, const Spent& spent);  // of an attempt without a result
  void Requeue(const Job& job);
  void RefreshState(TrialView& trial);
  void Score(TrialView& trial);
  void Observe(const TrialView& trial, double loss, bool copied);

  void FinishScored(Stamp stamp, std::vector<Event>& events);
  void FinishFailing(Stamp stamp, std::vector<Event>& events);
  void CheckStopRules(Stamp stamp, std::vector<Event>& events);
  std::string WhyExhausted() const;
  void EndSearch(Stamp stamp, std::vector<Event>& events);
  void Become(StudyState next, const std::string& why, Stamp stamp, std::vector<Event>& events);
};

Event About(EventKind kind, const Job& job);  // nothing else is set

// Trials that fail with one message, before any has a score, until the search gives up.
inline constexpr int kAlikeFailures = 8;

// Messages of kStudyState events that later decisions depend on.
inline constexpr char kAskedToStop[] = "asked to stop";
inline constexpr char kTargetReached[] = "stop rule met: target";
inline constexpr char kGpuHoursUsed[] = "stop rule met: gpu_hours";
inline constexpr char kWallTimeOver[] = "stop rule met: wall_time";

}  // namespace rung
