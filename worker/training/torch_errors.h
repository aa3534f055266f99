// The border to LibTorch: its exceptions become statuses here and nowhere else. Thread-safe.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace rung {

// Calls `work`. Errors: what `work` returns; ResourceExhausted (E0750) for memory that could not be had, on a
// GPU or the CPU; Internal (E0751) for any other exception of torch or the standard library.
absl::Status CatchTorch(const std::function<absl::Status()>& work);

}  // namespace rung
