// Real processes for the tests: started in a process group of their own, waited for with a time-out, killed
// at the end.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rung {

class Process {
 public:
  struct Options {
    std::vector<std::string> argv;                                 // argv[0] is a path
    std::vector<std::pair<std::string, std::string>> environment;  // beside the test's own
    std::string directory;
    std::string output_path;  // stdout and stderr, appended
    std::vector<std::string>
        cgroups;  // cgroup.procs files that the process writes itself into before it starts
  };
  explicit Process(const Options& options);
  // SIGKILL to all its descendants, reaped.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // The exit code, 128 + signal where a signal ended it; nullopt if it still runs after `seconds`.
  std::optional<int> Wait(double seconds);
  void Kill(int signal_number) const;

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

struct Finished {
  int code = -1;  // -1: the time-out passed
  std::string out;
  std::string err;
};
Finished RunProgram(const std::vector<std::string>& argv, const std::string& directory, double seconds);

// Looks every few milliseconds; false if it never held.
bool WaitFor(double seconds, const std::function<bool()>& holds);

// Living processes (no zombies) below this one, whatever group they are in.
std::vector<pid_t> Descendants(pid_t root);
// Name of the program as in /proc/PID/comm (15 characters).
std::string ProgramOf(pid_t pid);
bool Lives(pid_t pid);

}  // namespace rung
