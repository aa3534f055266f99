// Which Rung a program is.
#pragma once

namespace rung {

extern const char* const kVersion;  // "0.1.0", the project's of CMakeLists.txt

}  // namespace rung
