// The lines that a trainer writes to RUNG_METRICS_FD (docs/trainer-messages.md), parsed strictly, once.
// Values only; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "search/trial.h"

namespace rung {

inline constexpr size_t kMaxTrainerLineBytes = 64 * 1024;

// The value of a result that says what budget was really read, cumulative.
inline constexpr char kBudgetRead[] = "train/budget";

// Budgets are amounts (search/trial.h), that of a result too.
struct MetricMessage {
  int64_t step = 0;                      // updates done
  double budget = 0;                     // cumulative
  std::map<std::string, double> values;  // null in the line: NaN
};

struct CheckpointMessage {
  double budget = 0;
  std::string path;  // relative to checkpoint_dir
};

struct ResultMessage {
  std::map<std::string, double> values;
  std::map<std::string, std::string> outputs;  // name -> path relative to output_dir
};

struct FailedMessage {
  FailureCause cause = FailureCause::kCrash;
  std::string message;
};

using TrainerMessage = std::variant<MetricMessage, CheckpointMessage, ResultMessage, FailedMessage>;

// `line` without its newline. Errors: InvalidArgument (E0720) with the offending value.
absl::StatusOr<TrainerMessage> ParseTrainerMessage(const std::string& line);

// Cuts a stream of bytes into lines. A line longer than kMaxTrainerLineBytes makes it overlong() for good.
class LineBuffer {
 public:
  // The lines completed by these bytes, without their newlines; empty lines are dropped.
  std::vector<std::string> Add(const char* bytes, size_t size);
  bool overlong() const { return overlong_; }
  void Clear();

 private:
  std::string partial_;
  bool overlong_ = false;
};

}  // namespace rung
