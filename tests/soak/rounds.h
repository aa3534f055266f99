// A study from its creation to its end, with a coordinator that dies on the way: the real CoreLoop over the
// real store. After every death the store is compared with all that was acknowledged. One at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/soak/crew.h"

namespace rung::soak {

enum class Fault {
  kNone,          // calls are doubled and answers lost, nothing else
  kKill,          // kill -9 of the coordinator's process at any moment; a database on a real disk
  kPowerCut,      // what was not synced may be lost, sector by sector; a database on a lossy disk in memory
  kWeakPowerCut,  // the same with synchronous=NORMAL: must lose something
  kIoError,       // each write, sync and removal of each commit fails once, and ends the coordinator
  kDiskFull,      // as kIoError, for want of space
};

struct Outcome {
  std::optional<std::string> breach;  // what did not hold
  int64_t deaths = 0;
  Figures figures;
};

// A seed replays its round exactly, but with kKill, where the moments are the machine's.
Outcome RunRound(Fault fault, uint64_t seed);

Outcome RunKilled(uint64_t seed);                    // kKill
Outcome RunOnLossyDisk(Fault fault, uint64_t seed);  // all others

}  // namespace rung::soak
