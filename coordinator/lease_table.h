// Who runs what: the leases of running attempts and the workers that hold them. Values only, no clock.
// Not thread-safe: the core owns it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "search/trial.h"
#include "storage/study_store.h"

namespace rung {

struct Lease {
  AttemptKey key;
  std::string worker;
  absl::Duration renewed;  // steady time of the last word from its worker
  absl::Duration began;  // steady time of the grant; after a restart as far back as the log shows it at work
  absl::Time granted_at, checkpointed_at;  // as the log says it; only of leases that were loaded
  bool outlived = false;   // an earlier coordinator granted it, and its worker has not been heard since
  std::string identity;    // of the result it will give; empty: none, or not known yet
  std::string resume_dir;  // empty: starts anew
  double budget_from = 0;
  bool stop_sent = false;
};

struct WorkerState {
  WorkerRecord record;
  absl::Duration heard;    // steady time
  int streams = 0;         // open Progress streams of this instance
  bool present = false;    // heard of by this coordinator, and not proved gone since
  bool lost = false;       // was silent for 3 x TTL
  bool told_done = false;  // was answered "study done" or "drained"
  int attempts_done = 0;
  absl::Duration job_ends = absl::InfiniteDuration();  // steady time; of its Slurm job
  std::string message;                                 // why it left, as it says itself
  std::map<StudyId, absl::Duration> blind_until;       // steady time; it could not read the study's data
};

class LeaseTable {
 public:
  Lease& Add(Lease lease);
  // What its result will be known by; apart from Add, since reading a long log adds many that have ended.
  void Identify(Lease& lease, const std::string& identity);
  void Remove(const AttemptKey& key);

  // The lease of this job, or nullptr.
  Lease* Find(StudyId study, const Job& job);
  const Lease* Find(StudyId study, const Job& job) const;
  // A worker slot holds at most one.
  Lease* OfWorker(const std::string& worker);
  const Lease* OfWorker(const std::string& worker) const;
  bool Runs(StudyId study, TrialId trial) const;  // an attempt of it
  bool InTraining(const std::string& identity) const { return by_identity_.contains(identity); }

  std::vector<Lease> SilentSince(absl::Duration steady) const;  // renewed before it
  const std::map<std::pair<StudyId, Job>, Lease>& all() const { return leases_; }
  std::map<std::pair<StudyId, Job>, Lease>& all() { return leases_; }

 private:
  std::map<std::pair<StudyId, Job>, Lease> leases_;
  std::map<std::string, std::pair<StudyId, Job>> by_worker_;
  std::multimap<std::string, AttemptKey> by_identity_;
};

}  // namespace rung
