// Which process this is, so that others can prove it dead: host, boot id, pid, start time. Linux /proc.
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace rung {

struct ProcessIdentity {
  std::string host;
  std::string boot_id;
  int64_t pid = 0;
  int64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/PID/stat
};

ProcessIdentity ThisProcess();
ProcessIdentity OfPid(int64_t pid);  // start_time 0 if there is none

// True if it ran on this boot of this host and pid + start time no longer exist. False proves nothing.
bool ProvedDead(const ProcessIdentity& process);

// For processes that hold secrets: no core is written of them, and no other process of this user looks into
// them (ptrace, /proc/PID/mem). What they start may have cores again.
void ForbidCoreDumps();

}  // namespace rung
