// One run of the real core in simulated time, under faults that a seed chooses, until everything is healed
// and every study has ended. A seed replays its run exactly.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/network.h"

namespace rung::sim {

struct Setup {
  uint64_t seed = 0;
  Mutation mutation = Mutation::kNone;
  Faults faults;
  int workers = 5;
  int bad_hosts = 0;                 // the first of them
  std::vector<std::string> studies;  // canonical JSON; empty: two small ones that share results
  absl::Duration faulty = absl::Minutes(90);
  absl::Duration patience = absl::Hours(48);          // from the healing to the end
  absl::Duration stop_at = absl::InfiniteDuration();  // ends there, finished or not
  absl::Duration unit = absl::Seconds(150);
  int checkpoints = 4;
  absl::Duration group = absl::Milliseconds(10);
  bool people = true;  // who pause, resume and stop
  std::function<void(const std::string&)> trace;
};

struct Outcome {
  std::optional<std::string> breach;  // what did not hold, and when
  absl::Duration time;
  int64_t steps = 0, events = 0, restarts = 0, power_cuts = 0;
  std::map<std::string, int64_t> lost;  // attempts by worker
};

Outcome Simulate(const Setup& setup);

}  // namespace rung::sim
