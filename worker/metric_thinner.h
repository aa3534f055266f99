// Keeps a trainer that talks much from flooding the store: after a burst its metrics are told once a second,
// of each the newest value. Of one attempt. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "worker/trainer_message.h"

namespace rung {

class MetricThinner {
 public:
  static constexpr double kBurst = 100;      // lines that are told as they come
  static constexpr size_t kMaxHeld = 1'000;  // metrics that wait together; others are left out meanwhile

  // What is to be told now, by step: the message and all that waits, or nothing. `now`: Clock::Steady.
  std::vector<MetricMessage> Add(const MetricMessage& message, absl::Duration now);
  // What still waits, at the attempt's end.
  std::vector<MetricMessage> Rest();

 private:
  struct Point {
    int64_t step = 0;
    double budget = 0;
    double value = 0;
  };
  std::map<std::string, Point> held_;  // by name
  double allowed_ = kBurst;
  absl::Duration last_ = absl::ZeroDuration();
};

}  // namespace rung
