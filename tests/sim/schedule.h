// Simulated time: what happens next, in one thread; and the disk that all machines share.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace rung::sim {

class Schedule {
 public:
  absl::Duration now() const { return now_; }
  void In(absl::Duration delay, std::function<void()> what) {
    events_.emplace(std::make_pair(now_ + delay, ++number_), std::move(what));
  }
  // Runs what comes next; false if nothing does.
  bool Step() {
    if (events_.empty()) return false;
    auto next = events_.extract(events_.begin());
    now_ = next.key().first;
    next.mapped()();
    return true;
  }

 private:
  absl::Duration now_ = absl::Seconds(1000);
  int64_t number_ = 0;  // what is due at the same time comes in the order of its making
  std::map<std::pair<absl::Duration, int64_t>, std::function<void()>> events_;
};

// The newest checkpoint of each directory. What was trained is named by the line's config and seed.
struct Checkpoint {
  std::string line;
  double budget = 0;
};

class Disk {
 public:
  void Write(const std::string& directory, Checkpoint checkpoint) {
    files_[directory] = std::move(checkpoint);
  }
  const Checkpoint* Read(const std::string& directory) const {
    const auto found = files_.find(directory);
    return found == files_.end() ? nullptr : &found->second;
  }
  void RemoveAll(const std::string& directory) {
    files_.erase(directory);
    const std::string below = directory + "/";
    auto next = files_.lower_bound(below);
    while (next != files_.end() && next->first.starts_with(below)) next = files_.erase(next);
  }

 private:
  std::map<std::string, Checkpoint> files_;
};

}  // namespace rung::sim
