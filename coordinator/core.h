// The coordinator without threads, clock, disk or network: commands and the time go in, what to store and to
// answer comes out. All studies, the lease table and the workers live here; production and simulator run this
// same code. The caller stores a group's batch before it answers anybody; if it cannot store it, it must end
// the process, because memory is then ahead of the truth. Not thread-safe: the core thread owns it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/command.h"
#include "coordinator/deaths.h"
#include "coordinator/lease_table.h"
#include "proto/endpoint.h"
#include "search/study.h"
#include "storage/study_store.h"

namespace rung {

struct CoreOptions {
  StateDir dir;
  std::string nonce;  // bytes of the nonce file: a worker that read them shares the directory
  std::string build;
  int64_t term = 0;
  absl::Duration lease_ttl = absl::Seconds(60);
  bool offline = false;            // answers questions; all else is refused (E0620)
  bool exit_when_done = false;     // workers are told at once when every study is finished
  int64_t max_requests = 100'000;  // remembered for repetition
};

struct StudyEntry {
  StudyRecord record;
  Study study;
  absl::Time finished_at;
  absl::Duration active_marked;               // steady time up to which record.active_seconds counts
  double active_stored = 0, idle_stored = 0;  // what the store has of the record's times
  TrialId incumbent;                          // whose checkpoint is kept although its trial may be finished
  int64_t served = 0;                         // the number of its newest grant among all of this coordinator
};

class Core final : private KnownResults {
 public:
  static constexpr double kMaxWaitSeconds = 30;
  static constexpr absl::Duration kTimesStoreEvery = absl::Seconds(10);  // where no event is stored meanwhile

  explicit Core(CoreOptions options);

  // Unavailable (E0620): what an offline coordinator answers to whatever is not a question.
  static absl::Status OfflineError();

  // Recovery, in this order; then Start gives every running attempt a fresh TTL.
  absl::Status LoadStudy(StudyRecord record);
  absl::Status LoadEvent(StudyId study, const Event& event);
  void LoadWorker(WorkerRecord record);
  void LoadRequest(RequestRecord record);
  void Start(const Now& now);

  void Apply(const Command& command, const Now& now);
  // Ends a group: time-outs, waiting requests, commands to workers. Also called when nothing came for a
  // while.
  void Settle(const Now& now);
  Effects Take();

  // Leased workers whose process may be gone: no stream is open, or silent for a TTL. The shell looks for
  // proofs.
  std::vector<WorkerRecord> Suspects(const Now& now) const;
  // Directories of the trial's checkpoints that nobody needs, whether they are there or not.
  std::vector<std::string> ObsoleteOf(StudyId study, TrialId trial) const;
  bool AllFinished() const;  // there are studies, and all are done, stopped or failed
  bool WorkersTold() const;  // every worker that is present knows it
  bool HasWorkers() const;   // one is present

  // The read model.
  const std::map<StudyId, StudyEntry>& studies() const { return studies_; }
  const std::map<std::string, WorkerState>& workers() const { return workers_; }
  const LeaseTable& leases() const { return leases_; }
  const Deaths& deaths() const { return deaths_; }
  const CoreOptions& options() const { return options_; }
  absl::StatusOr<const StudyEntry*> FindStudy(const v1::StudyRef& ref) const;
  v1::StudyStatus StatusOf(const StudyEntry& entry) const;

 private:
  struct Waiting {
    int64_t ticket;
    absl::Duration until;
    std::string worker, instance;  // a waiting Lease
    StudyId study;                 // a waiting GetStudy
    int64_t after_version = 0;
    bool leaves_if_surplus = false;  // of a Lease
  };

  // KnownResults
  std::optional<Known> Find(const std::string& identity) const override;
  bool InTraining(const std::string& identity) const override { return leases_.InTraining(identity); }

  void On(int64_t ticket, const v1::RegisterRequest& request, const Now& now);
  void On(int64_t ticket, const v1::LeaseRequest& request, const Now& now);
  void On(int64_t ticket, const v1::ProgressRequest& request, const Now& now);
  void On(int64_t ticket, const v1::ReportRequest& request, const Now& now);
  void On(int64_t ticket, const v1::ReleaseRequest& request, const Now& now);
  void On(int64_t ticket, const v1::CreateStudyRequest& request, const Now& now);
  void On(int64_t ticket, const NewStudy& wanted, const Now& now);
  void On(int64_t ticket, const v1::SetStudyStateRequest& request, const Now& now);
  void On(int64_t ticket, const v1::GetStudyRequest& request, const Now& now);
  void On(int64_t ticket, const v1::WorkerGoneRequest& request, const Now& now);
  void On(int64_t ticket, const v1::EndWorkerRequest& request, const Now& now);
  void On(int64_t ticket, const StreamOpened& opened, const Now& now);
  void On(int64_t ticket, const StreamClosed& closed, const Now& now);
  void On(int64_t ticket, const CallCancelled& cancelled, const Now& now);
  void On(int64_t ticket, const ProcessGone& gone, const Now& now);
  void On(int64_t ticket, const DrainAll& drain, const Now& now);

  // Checkpoints and what is known of results (core_checkpoints.cc)
  bool Unneeded(const StudyEntry& entry, TrialId trial) const;
  bool Kept(StudyId study, const Job& job) const;
  void FindObsolete(const StudyEntry& entry, const Event& event);
  void DropLowerRungs(const StudyEntry& entry, TrialId trial, std::vector<std::string>& paths) const;
  void Drop(const StudyEntry& entry, TrialId trial, std::optional<int> rung,
            std::vector<std::string>& paths) const;

  // Work (core_work.cc)
  Stamp StampOf(const Now& now);
  void Record(StudyEntry& entry, std::vector<Event> events);
  void Index(StudyEntry& entry, const Event& event);
  void NoteIncumbent(StudyEntry& entry);
  std::vector<StudyId> StudiesByTurn() const;
  Lease* GrantTo(const std::string& worker, const Now& now, v1::IdleReason& idle);
  Lease MakeLease(const StudyEntry& entry, const Job& job, int64_t attempt, const std::string& worker) const;
  v1::Attempt AttemptOf(const Lease& lease) const;
  // What workers say of their attempts (core_reports.cc)
  void Lose(const Lease& lease, const std::string& why, const Now& now);
  // Of an attempt that ends without a result; its device was at work until `until` (steady).
  Spent SpentOf(const AttemptKey& key, absl::Duration until) const;
  bool LeaveToOthers(const std::string& name, StudyId study, const Now& now);
  static bool IsBlind(const WorkerState& worker, StudyId study, const Now& now);
  bool IsHeldBack(const WorkerState& worker, const Now& now) const;
  bool IsPassedOver(const WorkerState& worker, const Now& now) const;
  void NoteDeath(const AttemptKey& key, const Now& now);
  void LoseWorker(WorkerState& worker, const std::string& why, const Now& now);
  void NoteCheckpoint(StudyEntry& entry, const AttemptKey& key, double budget, const Now& now);
  absl::Status CheckAttempt(const AttemptKey& key, bool& already_stored) const;
  bool IsWantedLate(const AttemptKey& key) const;
  std::vector<Event> EventsOf(StudyEntry& entry, const AttemptKey& key, const v1::ReportRequest& request,
                              const Now& now);
  bool Leaves(const std::string& worker) const;  // it, or every worker, gets no more work
  v1::Command CommandFor(const Lease& lease) const;
  void AskForCheckpoints(StudyId study);
  void PushCommand(const Lease& lease, v1::Command command);
  void SettleLeases(const Now& now);
  void SettleActiveTime(const Now& now);
  void SettleIdleTime(const Now& now);
  void StoreTimes(StudyEntry& entry);
  void SettleWaiting(const Now& now);
  int64_t Surplus(const Now& now) const;
  void SendSurplusHome(const Now& now);
  void SettleWatchers(const Now& now);

  // Answers
  template <typename Message>
  void Answer(int64_t ticket, const Message& message) {
    if (ticket != 0) effects_.replies.push_back({ticket, absl::OkStatus(), message.SerializeAsString()});
  }
  void Refuse(int64_t ticket, absl::Status status);
  // True if the request was answered before (or refused, because its id came with another payload).
  template <typename Request>
  bool Repeated(int64_t ticket, const Request& request, const std::string& sha256) {
    const auto found = requests_.find(request.request_id());
    if (request.request_id().empty() || found == requests_.end()) return false;
    if (found->second.payload_sha256 == sha256) {
      AnswerStored(ticket, request, found->second.answer);
    } else {
      Refuse(ticket, OtherPayload(request.request_id()));
    }
    return true;
  }
  static absl::Status NotRegistered(const std::string& worker, const std::string& instance);
  static absl::Status OtherPayload(const std::string& request_id);
  void Remember(const std::string& request_id, const std::string& sha256, std::string answer);
  void AnswerStored(int64_t ticket, const v1::ReportRequest& request, const std::string& answer);
  void AnswerStored(int64_t ticket, const v1::ReleaseRequest& request, const std::string& answer);
  void AnswerStored(int64_t ticket, const v1::CreateStudyRequest& request, const std::string& answer);
  void AnswerStored(int64_t ticket, const v1::SetStudyStateRequest& request, const std::string& answer);
  WorkerState* Current(const std::string& worker, const std::string& instance);

  CoreOptions options_;
  std::map<StudyId, StudyEntry> studies_;
  int64_t grants_ = 0;
  std::map<std::string, WorkerState> workers_;
  LeaseTable leases_;
  Deaths deaths_;
  std::deque<Waiting> waiting_;    // Lease
  std::vector<Waiting> watching_;  // GetStudy
  std::unordered_map<std::string, RequestRecord> requests_;
  std::deque<std::string> request_order_;
  std::unordered_map<std::string, std::vector<std::pair<StudyId, Job>>> known_;  // by identity, trained ones
  std::map<AttemptKey, double> checkpoints_;  // budget that a running job's attempt has on disk
  std::set<std::pair<StudyId, Job>> pins_;    // their checkpoints stand for copied results too
  int64_t next_seq_ = 1;
  absl::Duration idle_marked_;  // steady time up to which idle_seconds count
  bool draining_ = false;
  bool changed_ = true;  // something happened since the last Settle that may make or end work
  Effects effects_;
};

}  // namespace rung
