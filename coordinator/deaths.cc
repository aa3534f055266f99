#include "coordinator/deaths.h"

#include <algorithm>

namespace rung {

void Deaths::Add(const Trial& trial, const std::string& host, absl::Duration now) {
  std::map<Trial, absl::Duration>& here = on_host_[host];
  std::erase_if(here, [now](const auto& death) { return death.second + kExcludedFor <= now; });
  here[trial] = now;
  std::set<std::string>& hosts = hosts_[trial];
  hosts.insert(host);
  if (hosts.size() >= kSuspicious) suspects_.insert(trial);
}

void Deaths::GotOn(const Trial& trial) {
  hosts_.erase(trial);
  suspects_.erase(trial);
}

void Deaths::GivenUp(const Trial& trial) {
  if (suspects_.contains(trial)) {
    for (const std::string& host : hosts_[trial]) on_host_[host].erase(trial);
  }
  GotOn(trial);
}

bool Deaths::Excluded(const std::string& host, absl::Duration now) const {
  const auto found = on_host_.find(host);
  if (found == on_host_.end()) return false;
  const auto recent = std::count_if(found->second.begin(), found->second.end(),
                                    [now](const auto& death) { return now < death.second + kExcludedFor; });
  return static_cast<size_t>(recent) >= kSuspicious;
}

}  // namespace rung
