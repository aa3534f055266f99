// Poison told from bad machines (docs/decisions/0023): whose attempts died of their machine, and where. A
// host on which attempts of two different trials died gets no work for a while; a trial that died on two
// different hosts runs alone until it gets on. In memory only: a coordinator that starts begins without a
// suspicion. Values only, no clock. Not thread-safe: the core owns it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "search/trial.h"

namespace rung {

class Deaths {
 public:
  using Trial = std::pair<StudyId, TrialId>;
  static constexpr absl::Duration kExcludedFor = absl::Minutes(5);
  static constexpr size_t kSuspicious = 2;  // trials of a host, hosts of a trial

  // `now` is steady time.
  void Add(const Trial& trial, const std::string& host, absl::Duration now);
  // It came to a checkpoint or to its end: what its attempts died of was not the trial.
  void GotOn(const Trial& trial);
  // Its workers were lost too often. If that was on several hosts, none of them is to blame.
  void GivenUp(const Trial& trial);
  // There would be no host left.
  void PardonHosts() { on_host_.clear(); }

  bool Excluded(const std::string& host, absl::Duration now) const;
  // Trials that run alone.
  const std::set<Trial>& suspects() const { return suspects_; }

 private:
  std::map<std::string, std::map<Trial, absl::Duration>> on_host_;  // when its newest attempt died there
  std::map<Trial, std::set<std::string>> hosts_;                    // where it died since it last got on
  std::set<Trial> suspects_;
};

}  // namespace rung
