// The text of storage/schema/*.sql, embedded by CMake.
#pragma once

namespace rung {

inline constexpr int kSchemaVersion = 3;
extern const char kSchema1[];  // makes it
extern const char kSchema2[];  // from 1 to 2
extern const char kSchema3[];  // from 2 to 3

}  // namespace rung
