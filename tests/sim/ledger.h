// What must hold, whatever happens: a second, simpler account of the studies, kept from the committed events
// and from what clients were answered, and compared with the core after every step. The first breach is kept.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core.h"
#include "tests/sim/schedule.h"

namespace rung::sim {

class Ledger {
 public:
  explicit Ledger(const Disk& disk) : disk_(disk) {}

  // Rows that reached the store, in one transaction. `draining`: the coordinator was told to grant nothing.
  void OnCommit(const Batch& batch, bool draining);
  // After a commit, with the memory that it belongs to.
  void OnStep(const Core& core, const Batch& batch);
  // A coordinator started anew from the store.
  void OnRecovery(const Core& core);
  // Checkpoints that the core no longer needs were removed.
  void OnRemoval(const Core& core);
  // Every study has ended: what people export is what was committed.
  void OnExport(const Core& core, StudyStore& store);
  // What a request was answered. Repetitions of one request get one answer.
  void OnAnswer(const std::string& request_id, const absl::Status& status, const std::string& decision);
  void OnReportAnswer(const v1::ReportRequest& request, const absl::Status& status,
                      const std::string& decision);
  // A worker of a valid lease begins.
  void OnStart(const v1::Attempt& attempt, const Checkpoint* resumed);

  void Breach(const std::string& what);
  const std::optional<std::string>& breach() const { return breach_; }
  const std::map<std::string, int64_t>& lost() const { return lost_; }  // attempts by worker

  // What training `line` to `budget` gives, on every machine and whatever interrupted it.
  static double Score(const std::string& line, double budget);
  static std::string LineOf(const v1::Attempt& attempt);

 private:
  struct JobRow {
    int64_t attempts = 0;
    int64_t running = 0;
    std::string worker;        // of its newest attempt
    int64_t checkpointed = 0;  // by this attempt
    double checkpoint_budget = 0;
    std::optional<double> value;
    int64_t value_attempt = 0;
    bool copied = false;
    std::map<int64_t, EventKind> ended;  // attempt -> how
    double lost_charged = 0;             // by the newest attempt, when it was lost
  };
  struct TrialRow {
    int bracket = -1;
    int rung = 0;
    bool finished = false;
    bool failed = false;  // an attempt of it failed by its config's fault
  };
  struct StudyRow {
    StudyState state = StudyState::kRunning;
    int replicates = 1;
    std::map<TrialId, TrialRow> trials;
    std::map<int, std::vector<TrialId>> of_bracket;
    std::map<Job, JobRow> jobs;
    double charged = 0;
    int64_t events = 0;
    std::optional<Incumbent> best;
    std::map<std::pair<int, int>, std::vector<TrialId>> up,
        down;                               // (bracket, rung): promoted to it, left below it
    std::set<std::pair<int, int>> changed;  // of them, since they were checked
  };

  void OnEvent(StudyId id, const Event& event, bool draining);
  void OnGrant(StudyRow& study, const Event& event, bool draining);
  void OnEnd(StudyRow& study, const Event& event);
  void OnPromotion(StudyRow& study, const Event& event);
  void CheckPromotions(const Core& core, StudyId id, StudyRow& row);
  void CheckStudy(const StudyEntry& entry, StudyRow& row);
  void CheckCheckpoint(const Core& core, StudyId id, const StudyRow& row, TrialId trial, int replicate);
  void CheckTrials(const Core& core, StudyId id, const StudyRow& row);
  void CheckLog(const Core& core, StudyStore& store, StudyId id, const StudyRow& row);
  void CheckWorkers(const Batch& batch);
  std::optional<double> ScoreOf(const StudyRow& study, TrialId trial, int rung) const;

  const Disk& disk_;
  std::optional<std::string> breach_;
  int64_t last_seq_ = 0;
  std::map<StudyId, StudyRow> studies_;
  std::map<std::string, int64_t> lost_;
  std::set<std::string> sent_home_;  // workers whose process gets no more work
  std::map<std::string, std::pair<absl::StatusCode, std::string>> answers_;
  std::map<AttemptKey, double> acknowledged_;  // results that a worker was told are stored
};

}  // namespace rung::sim
