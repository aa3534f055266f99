// An event of a study's log as JSON: what scripts, exports and `rung replay` read. Pure; thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "search/study.h"

namespace rung {

// Every field that its kind has; a non-finite number is "nan", "inf" or "-inf"; "at" in microseconds since
// 1970.
nlohmann::json ToJson(const Event& event);
// Errors: InvalidArgument (E0342) for anything that ToJson does not write.
absl::StatusOr<Event> EventFromJson(const nlohmann::json& json);

}  // namespace rung
