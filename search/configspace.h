// Spaces of the Python package ConfigSpace (https://automl.github.io/ConfigSpace): its JSON read and written.
// Pure functions; thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/space.h"

namespace rung {

// Told apart by its keys: "hyperparameters" is a list of objects.
bool IsConfigSpace(const nlohmann::json& json);

// The same space as Space::Parse reads it. Its formats 0.2 to 0.4. There != holds for an inactive parent too:
// that becomes "is inactive or !=". Errors: InvalidArgument (E0226) with where = "#/hyperparameters/3".
absl::StatusOr<nlohmann::json> FromConfigSpace(const nlohmann::json& json);

// An error about the translated space, with the place in `json` where its parameter stands.
absl::Status WhereInConfigSpace(const absl::Status& status, const nlohmann::json& json);

// Format 0.4. Ranges with a step become ordinals. Errors: InvalidArgument (E0227) for what ConfigSpace cannot
// say: relations in conditions, log-normal priors without log, a condition that never holds.
absl::StatusOr<nlohmann::json> ToConfigSpace(const Space& space);

}  // namespace rung
