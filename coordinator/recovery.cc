#include "coordinator/recovery.h"

#include <utility>

#include "base/status.h"

namespace rung {

absl::StatusOr<Core> LoadCore(const CoreOptions& options, StudyStore& store) {
  Core core(options);
  RUNG_RETURN_IF_ERROR(
      store.LoadStudies([&](StudyRecord record) { return core.LoadStudy(std::move(record)); }));
  RUNG_RETURN_IF_ERROR(
      store.LoadEvents([&](StudyId study, const Event& event) { return core.LoadEvent(study, event); }));
  RUNG_RETURN_IF_ERROR(store.LoadWorkers([&](WorkerRecord record) {
    core.LoadWorker(std::move(record));
    return absl::OkStatus();
  }));
  RUNG_RETURN_IF_ERROR(store.LoadRequests(options.max_requests, [&](RequestRecord record) {
    core.LoadRequest(std::move(record));
    return absl::OkStatus();
  }));
  return core;
}

}  // namespace rung
