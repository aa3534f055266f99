// A core from what the store holds: the studies, then every event in order, then the rest. Not thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/core.h"
#include "storage/study_store.h"

namespace rung {

// The caller then calls Start. Errors: those of the store's readers, and of a study that cannot be parsed.
absl::StatusOr<Core> LoadCore(const CoreOptions& options, StudyStore& store);

}  // namespace rung
