// An error as every program of Rung shows it. Thread-safe: functions only.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rung {

// Code and message, then where, value and mend, each on a line of its own made safe by `printable`; or one
// JSON object on one line. What has no detail gets E0100.
std::string ErrorText(const absl::Status& status, bool json, std::string (*printable)(const std::string&));

}  // namespace rung
