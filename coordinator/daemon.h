// rungd from its options to its end: lock, store, core, server, signals. Wired by hand; main only calls it.
#pragma once

#include "absl/status/status.h"
#include "coordinator/options.h"

namespace rung {

// Runs until it is told to end. Errors are for a person; main prints them.
absl::Status RunDaemon(const DaemonOptions& options);

}  // namespace rung
