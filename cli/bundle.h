// What `rung doctor --bundle FILE` writes: what somebody who helps needs to know of a state directory, and
// nothing that is secret. Reads files only. Thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "cli/finding.h"
#include "proto/endpoint.h"

namespace rung {

// Stands where a value was taken out.
inline constexpr char kLeftOut[] = "(left out)";

// {"schema", "made_at", "version", "system", "environment", "findings"}, and of a state directory
// "state_directory", "endpoint", "status", "studies" (id -> study file), "sizes" and "logs" (the ends of
// those of rungd and the workers). Never in it: tokens, keys, certificates, the database, checkpoints, data,
// trials' logs, and values of environment variables but those known to be harmless (of 8 bytes or more,
// where a log quotes them). What a trainer's argv has, or its error quotes, is there. What cannot be read is
// null or missing.
OrderedJson BundleJson(const std::optional<StateDir>& dir, const std::vector<Finding>& findings,
                       absl::Time now);

}  // namespace rung
