#include "worker/training/message_pipe.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/status.h"

namespace rung {

namespace {
constexpr size_t kMaxMessageBytes = 16 * 1024;
}

absl::Status MessagePipe::Write(const nlohmann::json& line) {
  std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text += '\n';
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return MakeError(absl::StatusCode::kUnavailable,
                       {.code = "E0753",
                        .message = "the worker does not read the trainer's messages",
                        .where = "",
                        .value = std::strerror(errno),
                        .mend = "Start rung-trainer through rung-worker"});
    }
    done += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status MessagePipe::Metric(int64_t step, double budget, const MetricValues& values) {
  return Write({{"type", "metric"}, {"step", step}, {"budget", budget}, {"values", values}});
}

absl::Status MessagePipe::Checkpoint(double budget, const std::string& path) {
  return Write({{"type", "checkpoint"}, {"budget", budget}, {"path", path}});
}

absl::Status MessagePipe::Result(const MetricValues& values,
                                 const std::map<std::string, std::string>& outputs) {
  return Write({{"type", "result"}, {"values", values}, {"outputs", outputs}});
}

absl::Status MessagePipe::Failed(const std::string& cause, const std::string& message) {
  return Write({{"type", "failed"}, {"cause", cause}, {"message", message.substr(0, kMaxMessageBytes)}});
}

}  // namespace rung
