// The faults of a run and the network between the machines: messages are delayed, dropped, doubled and
// overtaken, links are cut for a while. After `healed` everything works.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "search/rng.h"
#include "tests/sim/schedule.h"

namespace rung::sim {

// What a run switches off to see that it is missed.
enum class Mutation { kNone, kNoFencing, kNoIdempotency, kSplitTransaction };

struct Faults {
  double drop = 0.03, duplicate = 0.03, late = 0.05;  // of messages
  double commit_refused = 0.002;                      // of commits: nothing is stored
  double commit_in_doubt = 0.002;                     // stored, and reported as failed
  double killed_before_answer = 0.002;
  double power_cut = 0;  // of commits: soon the disk fails, and what was not synced is lost in part
  absl::Duration coordinator_life = absl::Minutes(40);
  absl::Duration worker_life = absl::Minutes(20);
  absl::Duration cut_every = absl::Minutes(30);
  double crash = 0.03, infrastructure = 0.03, poison = 0.04;  // of configs, of attempts, of configs
};

struct World {
  Schedule schedule;
  Disk disk;
  Rng rng;
  Faults faults;
  Mutation mutation = Mutation::kNone;
  bool healed = false;
  absl::Duration wall_jump;
  absl::Duration group = absl::Milliseconds(10);  // messages that arrive so close share a commit

  std::function<void(const std::string&)> trace;  // may be empty
  void Trace(const std::string& what) const {
    if (trace) trace(absl::StrFormat("%s %s", absl::FormatDuration(schedule.now()), what));
  }

  World(uint64_t seed, Faults all) : rng(seed, 0x73696d), faults(all) {}
  bool Chance(double probability) { return !healed && rng.Uniform() < probability; }
  // Exponential, so that anything may meet anything.
  absl::Duration After(absl::Duration mean) { return mean * -std::log(1 - rng.Uniform()); }
};

class Network {
 public:
  explicit Network(World& world) : world_(world) {}

  // `link` names the client; both directions share it.
  void Send(int link, const std::function<void()>& deliver) {
    if (!world_.healed && cut_until_[link] > world_.schedule.now()) return;
    if (world_.Chance(world_.faults.drop)) return;
    const int copies = world_.Chance(world_.faults.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const bool late = world_.Chance(world_.faults.late);
      const double seconds = world_.rng.Uniform() * (late ? 90 : 0.02);
      world_.schedule.In(absl::Seconds(0.001 + seconds), deliver);
    }
  }
  void Cut(int link, absl::Duration time) { cut_until_[link] = world_.schedule.now() + time; }

 private:
  World& world_;
  std::map<int, absl::Duration> cut_until_;
};

}  // namespace rung::sim
