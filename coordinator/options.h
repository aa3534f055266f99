// The command line of rungd. Values only.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace rung {

struct DaemonOptions {
  std::string dir;        // absolute
  std::string listen;     // HOST:PORT, or empty: the Unix socket only
  std::string advertise;  // host name that others reach; empty: the fully qualified name
  std::string metrics;    // address of /metrics and /healthz on loopback, or empty: none
  absl::Duration lease_ttl = absl::Seconds(60);
  bool offline = false;
  std::optional<absl::Duration> idle_exit;
  bool exit_when_done = false;
  std::string verify_backup, restore_backup;                 // instead of serving; empty: no
  absl::Duration workers_within = absl::InfiniteDuration();  // ends after that long without any

  bool gives_way() const { return offline || idle_exit.has_value(); }
};

// Errors: InvalidArgument (E01xx). nullopt: help or version was printed, the program ends with 0.
absl::StatusOr<std::optional<DaemonOptions>> ParseDaemonOptions(int argc, char** argv);

}  // namespace rung
