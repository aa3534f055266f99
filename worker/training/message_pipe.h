// The lines a trainer writes to RUNG_METRICS_FD (docs/trainer-messages.md). One thread.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"

namespace rung {

using MetricValues = std::map<std::string, double>;

class MessagePipe {
 public:
  // Does not own the descriptor.
  explicit MessagePipe(int descriptor) : descriptor_(descriptor) {}

  // Numbers that are not finite become null. Errors: Unavailable (E0753: nobody reads any more).
  absl::Status Metric(int64_t step, double budget, const MetricValues& values);
  absl::Status Checkpoint(double budget, const std::string& path);
  absl::Status Result(const MetricValues& values, const std::map<std::string, std::string>& outputs);
  // cause: out_of_memory, diverged, bad_data or crash. A long message is cut.
  absl::Status Failed(const std::string& cause, const std::string& message);

 private:
  absl::Status Write(const nlohmann::json& line);
  const int descriptor_;
};

}  // namespace rung
