// The worker's life: lease an attempt, run it, report it, take the next; through outages of the coordinator,
// until there is nothing to do or somebody ends it. Run() belongs to the main thread; Drain() may be called
// from any.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "worker/attempt_control.h"
#include "worker/attempt_plan.h"
#include "worker/coordinator_link.h"
#include "worker/resume_point.h"
#include "worker/spool.h"
#include "worker/trainer_process.h"

namespace rung {

// Before the end of a job: the trainer's last checkpoint (stop_patience), telling the coordinator, and some.
inline constexpr absl::Duration kLeaveMargin = absl::Seconds(60);
// What an attempt needs until its first checkpoint, as long as none has shown it.
inline constexpr absl::Duration kFirstCheckpoint = absl::Seconds(30);

struct AgentOptions {
  CoordinatorLink::Options link;
  TrainerOptions trainer;
  std::string spool_path;
  // Ends after that long without work; unless infinite, also when the coordinator does not need it any more.
  absl::Duration idle_exit = absl::InfiniteDuration();
  bool exit_when_done = false;  // ends when every study is finished
  absl::Duration lease_wait = absl::Seconds(30);
  absl::Duration resume_patience = kResumePatience;
  // Of the Slurm job; null: none. Drain is to be called when leave_margin is left of it.
  std::function<absl::Duration()> job_time_left;
  absl::Duration leave_margin = kLeaveMargin;
  // Keeps from one start of this slot to the next how long an attempt ran in vain. Empty: it is forgotten.
  std::string in_vain_path;
  // What a person who watches is told: attempts that begin and end, and why it ends. May be null.
  std::function<void(const std::string& line)> tell;
};

class Agent {
 public:
  Agent(AgentOptions options, MemoryEvents memory_events, Clock& clock, Log& log);

  // Until drained, done or idle for too long: OK. Errors: those of CoordinatorLink::Session, Aborted (another
  // process took this slot), or of the spool's file.
  absl::Status Run();

  // Checkpoint and release what runs, ask for no more. Thread-safe.
  void Drain();
  // The same, because the job ends. Thread-safe.
  void DrainBeforeJobEnd();
  // After Run: did it end because of the job's end? Work may be left.
  bool left_for_job_end() const { return left_for_job_end_; }

 private:
  enum class Settled { kYes, kAgain };

  absl::StatusOr<std::optional<v1::Attempt>> Lease();
  absl::Status AskForWork(const CoordinatorSession& session, v1::LeaseResponse& response);
  absl::Status OnIdle(const v1::LeaseResponse& response, absl::Duration asked_at);
  // Runs it and tells the coordinator; returns the next attempt if that came with the answer.
  absl::StatusOr<std::optional<v1::Attempt>> RunAttempt(const v1::Attempt& attempt);
  AttemptOutcome Execute(const v1::Attempt& attempt);
  // Why the attempt cannot start from its checkpoint; nullopt if it can, or must start anew.
  std::optional<AttemptOutcome> AwaitResumePoint(AttemptPlan& plan);
  absl::StatusOr<std::optional<v1::Attempt>> Report(v1::ReportRequest request);
  absl::Status SendReport(const CoordinatorSession& session, const v1::ReportRequest& request,
                          v1::ReportResponse& response);
  void SpoolReport(const v1::ReportRequest& request, const absl::Status& why);
  absl::Status Release(const v1::JobKey& attempt, const ReleasedOutcome& outcome);
  // Errors: Unavailable while the coordinator does not answer; what is left then is still to be told.
  absl::Status ReplaySpool(const CoordinatorSession& session);
  void Unspool(const std::string& request_id);
  void OnCommand(const v1::ProgressResponse& response);

  // Is there time for an attempt to come past its first checkpoint before this worker must leave?
  bool EnoughTime() const { return TimeToBegin() > absl::ZeroDuration(); }
  absl::Duration TimeToBegin() const;  // until there is not
  absl::Duration TimeToLeave() const;
  void LeaveForJobEnd();
  void OnSafe(absl::Duration started);
  // The job's end came before the attempt's first checkpoint.
  void OnInVain(absl::Duration started);
  void RememberInVain();

  // True if a worker that drains has tried long enough.
  bool DrainExpired() const;
  void Pause(absl::Duration duration);
  void BackOff(const AttemptOutcome& outcome);
  void Tell(const std::string& line) const;
  std::string NextRequestId();

  const AgentOptions options_;
  Clock& clock_;
  Log& log_;
  std::optional<Spool> spool_;  // opened by Run; before that the link's thread does not live
  TrainerProcess trainer_;
  DataCheck data_check_;
  ResumePoint resume_point_;
  AttemptControl control_;
  CoordinatorLink link_;

  // Of the agent's thread.
  int64_t requests_ = 0;
  absl::Duration idle_since_;
  absl::Duration attempt_ended_;  // the last one: its outcome is told from here on
  int killed_in_a_row_ = 0;       // attempts that died of this machine
  double checkpoint_budget_ = 0;  // of the newest checkpoint of the attempt at hand
  bool finished_ = false;
  std::string why_finished_;
  std::deque<absl::Duration>
      first_checkpoints_;  // of the last attempts: from start to first checkpoint or end
  bool in_vain_ = false;   // in_vain_path tells of an attempt, and none has shown better since

  std::atomic<bool> left_for_job_end_{false};
  std::atomic<bool> draining_{false};
  std::atomic<int64_t> drain_started_ms_{0};
  std::mutex mutex_;                             // guards what follows
  std::optional<v1::JobKey> current_;            // what commands are for
  grpc::ClientContext* waiting_call_ = nullptr;  // cancelled by Drain
};

}  // namespace rung
