#include "proto/version.h"

namespace rung {

const char* const kVersion = RUNG_VERSION;

}  // namespace rung
