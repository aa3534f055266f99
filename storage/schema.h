// The text of storage/schema/*.sql, embedded by CMake.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace rung {

inline constexpr int64_t kApplicationId = 0x52554e47;  // "RUNG"

inline constexpr int kSchemaVersion = 5;
extern const char kSchema1[];  // makes it
extern const char kSchema2[];  // from 1 to 2
extern const char kSchema3[];  // from 2 to 3
extern const char kSchema4[];  // from 3 to 4
extern const char kSchema5[];  // from 4 to 5

// FailedPrecondition (E0501): the database was made by a newer version.
absl::Status NewerSchema(const std::string& path, int64_t version);

}  // namespace rung
