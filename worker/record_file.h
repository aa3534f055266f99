// Files of records that outlive their writer: each with its length and hash, so that a torn end is found.
// Functions only; thread-safe on different files.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace rung {

std::string EncodeRecord(const std::string& payload);

// Calls `take` with each payload from the start on. Returns where it stopped: at the end, at bytes that are
// no record, or at a payload that `take` did not want.
size_t DecodeRecords(const std::string& bytes, const std::function<bool(const std::string& payload)>& take);

// Stored on return (fsync); the name of a new file may not be. Errors as WriteError (E0603).
absl::Status AppendRecord(const std::string& path, const std::string& payload);

}  // namespace rung
