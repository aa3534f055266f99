// Did the kernel's out-of-memory killer strike in a process's cgroup? Control groups v1 and v2. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace rung {

// Kills by the out-of-memory killer so far in the memory cgroup of a process; 0 where the kernel does not
// say. `proc` and `cgroup` are the mount points, other ones in tests.
class MemoryEvents {
 public:
  explicit MemoryEvents(std::string proc = "/proc", std::string cgroup = "/sys/fs/cgroup");

  // Which file counts for this process; kept, because a dead process has no cgroup to ask for.
  std::string CounterFile(pid_t pid) const;
  // oom_kill of memory.events (v2) or memory.oom_control (v1); memory.failcnt where a v1 kernel has no
  // oom_kill.
  static int64_t OomKills(const std::string& counter_file);

 private:
  const std::string proc_;
  const std::string cgroup_;
};

}  // namespace rung
