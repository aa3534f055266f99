// Time is passed in: nothing else in Rung reads a clock (a lint test bans absl::Now elsewhere).
// Thread-safe.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace rung {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;         // wall clock: for people and records, may jump
  virtual absl::Duration Steady() = 0;  // since an arbitrary start, never goes back: for leases and time-outs
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  absl::Duration Steady() override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

}  // namespace rung
