// A study whose name another one has already. Pure functions; thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace rung {

// AlreadyExists (E0623), at `where`: what differs between the stored study and the wanted one, both as
// canonical JSON ("/budget/max: 9 -> 27; /seed: 1 -> 2"; the first five), or that they are the same.
absl::Status NameTaken(const std::string& name, const std::string& where, const std::string& stored_json,
                       const std::string& wanted_json);

}  // namespace rung
