// One child program of a worker: its own process group, killed with the worker, its output on pipes. Linux.
// Not thread-safe: belongs to the agent's thread, which must outlive the child (PR_SET_PDEATHSIG is bound to
// the thread).
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

inline constexpr int kMetricsDescriptor = 3;  // RUNG_METRICS_FD in the child

struct ChildSpec {
  std::vector<std::string> argv;         // argv[0] without a slash is looked up in the PATH of `environment`
  std::vector<std::string> environment;  // NAME=VALUE, all of it
  std::string directory;                 // working directory; empty: the worker's
};

class TrainerChild {
 public:
  // Starts the program by execve, without a shell. Errors: NotFound, PermissionDenied, InvalidArgument
  // (E0721), ResourceExhausted (no process, memory or descriptor left, a program being written: may pass).
  static absl::StatusOr<std::unique_ptr<TrainerChild>> Start(const ChildSpec& spec);
  // Kills what is left of the process group and reaps the child.
  ~TrainerChild();
  TrainerChild(const TrainerChild&) = delete;
  TrainerChild& operator=(const TrainerChild&) = delete;

  pid_t pid() const { return pid_; }
  // Ends of pipes, non-blocking. input is written, the others are read.
  int input() const { return input_; }
  int output() const { return output_; }
  int errors() const { return errors_; }
  int metrics() const { return metrics_; }
  // Readable once the child has ended.
  int ended_event() const { return ended_event_; }

  // The status of waitpid if the child has ended; after that the group may still have members.
  std::optional<int> Ended() const;
  // To the whole process group.
  void Signal(int signal_number);
  // False if the child no longer reads.
  bool WriteLine(const std::string& line);

 private:
  TrainerChild() = default;
  void WatchForEnd();

  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  int errors_ = -1;
  int metrics_ = -1;
  int ended_event_ = -1;
  std::thread watcher_;
};

}  // namespace rung
