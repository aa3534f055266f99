// What a Prometheus collects: the read model and the loop's figures as its text format 0.0.4. Pure;
// thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "coordinator/core.h"

namespace rung {

// Durations by upper bound, in seconds. Not thread-safe.
class Histogram {
 public:
  static constexpr std::array<double, 11> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                     0.05,   0.1,   0.25,   1,     5};
  void Add(absl::Duration duration);
  int64_t count() const { return count_; }
  double sum_seconds() const { return sum_seconds_; }
  int64_t AtMost(size_t bound) const;  // of those up to kBounds[bound]

 private:
  std::array<int64_t, kBounds.size()> counts_{};
  int64_t count_ = 0;
  double sum_seconds_ = 0;
};

// Of the core loop, since its start.
struct LoopFigures {
  Histogram commits;
  int64_t calls = 0;
};

// What the process and its disk have.
struct ProcessFigures {
  double start_time_seconds = 0;  // since 1970
  int64_t resident_memory_bytes = 0;
  int64_t database_bytes = 0;
  int64_t free_bytes = 0;  // of the state directory's file system
};

std::string MetricsText(const Core& core, const LoopFigures& loop, const ProcessFigures& process,
                        absl::Duration steady);

}  // namespace rung
