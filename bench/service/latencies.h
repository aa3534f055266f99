// What a driver of load measures. Functions only.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

namespace rung {

using SteadyTime = std::chrono::steady_clock::time_point;

inline double MillisecondsSince(SteadyTime start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The smallest value that `share` of them do not exceed; there is one.
inline double Quantile(std::vector<double> values, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

// That a process has used; NaN where there is none.
inline double ProcessorSeconds(int64_t pid) {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(static_cast<pid_t>(pid), &clock) != 0 || clock_gettime(clock, &used) != 0)
    return std::nan("");
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

inline nlohmann::json Summary(const std::vector<double>& milliseconds) {
  return {{"count", milliseconds.size()},
          {"p50_ms", Quantile(milliseconds, .5)},
          {"p99_ms", Quantile(milliseconds, .99)},
          {"max_ms", Quantile(milliseconds, 1)}};
}

}  // namespace rung
