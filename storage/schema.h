// The text of storage/schema/*.sql, embedded by CMake.
#pragma once

namespace rung {

inline constexpr int kSchemaVersion = 1;
extern const char kSchema1[];

}  // namespace rung
