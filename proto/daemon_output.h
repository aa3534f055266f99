// What rungd and rung-worker say on stderr to who started them: a line for a person where something begins or
// ends, and the error that ends them. Their log is base/log.h. Thread-safe: functions only.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rung {

// Set to "json" (by `rung -o json`, and where `rung` reads the error itself) errors are one JSON object, and
// nothing else is said.
inline constexpr char kErrorFormatVariable[] = "RUNG_ERROR_FORMAT";

// Was JSON asked for?
bool WantsJson();

// Without line breaks and control characters: a name from a file or from the wire must not drive the
// terminal.
std::string OneLine(const std::string& text);

// One line, controls as escapes.
void TellPerson(const std::string& line);

// As `rung` prints its own: code, message, where, value, mend; JSON where that was asked for.
void PrintDaemonError(const absl::Status& status);
std::string DaemonErrorText(const absl::Status& status, bool json);

// gRPC's own log speaks of what Rung reports itself. Before the first use of gRPC; what the user has set
// stays.
void SilenceGrpc();

}  // namespace rung
