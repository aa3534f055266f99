// A clock that stands until a test moves it.
#pragma once

#include "base/clock.h"

namespace rung {

class FakeClock final : public Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch() + steady; }
  absl::Duration Steady() override { return steady; }
  absl::Duration steady = absl::Seconds(100);
};

}  // namespace rung
