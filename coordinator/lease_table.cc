#include "coordinator/lease_table.h"

#include "base/check.h"

namespace rung {

Lease& LeaseTable::Add(Lease lease) {
  const std::pair<StudyId, Job> key(lease.key.study, lease.key.job);
  RUNG_CHECK(!leases_.contains(key), "one running attempt per job");
  by_worker_[lease.worker] = key;
  return leases_[key] = std::move(lease);
}

void LeaseTable::Identify(Lease& lease, const std::string& identity) {
  RUNG_CHECK(lease.identity.empty(), "a lease is identified once");
  lease.identity = identity;
  if (!identity.empty()) by_identity_.emplace(identity, lease.key);
}

void LeaseTable::Remove(const AttemptKey& key) {
  const auto found = leases_.find({key.study, key.job});
  if (found == leases_.end() || found->second.key.attempt != key.attempt) return;
  const auto held = by_worker_.find(found->second.worker);
  if (held != by_worker_.end() && held->second == found->first) by_worker_.erase(held);
  auto [begin, end] = by_identity_.equal_range(found->second.identity);
  for (; begin != end; ++begin) {
    if (begin->second == key) {
      by_identity_.erase(begin);
      break;
    }
  }
  leases_.erase(found);
}

Lease* LeaseTable::Find(StudyId study, const Job& job) {
  const auto found = leases_.find({study, job});
  return found == leases_.end() ? nullptr : &found->second;
}

const Lease* LeaseTable::Find(StudyId study, const Job& job) const {
  return const_cast<LeaseTable*>(this)->Find(study, job);
}

Lease* LeaseTable::OfWorker(const std::string& worker) {
  const auto found = by_worker_.find(worker);
  return found == by_worker_.end() ? nullptr : Find(found->second.first, found->second.second);
}

const Lease* LeaseTable::OfWorker(const std::string& worker) const {
  return const_cast<LeaseTable*>(this)->OfWorker(worker);
}

bool LeaseTable::Runs(StudyId study, TrialId trial) const {
  const auto first = leases_.lower_bound({study, Job{trial}});
  return first != leases_.end() && first->first.first == study && first->first.second.trial == trial;
}

std::vector<Lease> LeaseTable::SilentSince(absl::Duration steady) const {
  std::vector<Lease> silent;
  for (const auto& [key, lease] : leases_) {
    if (lease.renewed < steady) silent.push_back(lease);
  }
  return silent;
}

}  // namespace rung
