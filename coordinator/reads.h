// What people may look at, from the core's memory and the store's log. Run on the core thread.
#pragma once

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/core.h"
#include "proto/rung/v1/rung.pb.h"
#include "storage/study_store.h"

namespace rung {

inline constexpr int kMaxTrialRows = 500;
inline constexpr int kMaxEvents = 2000;                // of one page, or of one trial
inline constexpr int kMaxAttemptRows = 500;            // of one trial
inline constexpr int kMaxPoints = 5000;                // of one page
inline constexpr size_t kMaxAnswerBytes = 768 * 1024;  // of the 1 MiB that a message may have

// Errors: NotFound (E0621: no such study, E0624: no such trial).
absl::StatusOr<v1::ListStudiesResponse> Answer(const Core& core, const v1::ListStudiesRequest& request);
absl::StatusOr<v1::ListTrialsResponse> Answer(const Core& core, const v1::ListTrialsRequest& request);
absl::StatusOr<v1::TrialDetail> Answer(const Core& core, StudyStore& store,
                                       const v1::GetTrialRequest& request);
absl::StatusOr<v1::ListEventsResponse> Answer(const Core& core, StudyStore& store,
                                              const v1::ListEventsRequest& request);
absl::StatusOr<v1::ListPointsResponse> Answer(const Core& core, StudyStore& store,
                                              const v1::ListPointsRequest& request);
absl::StatusOr<v1::ListWorkersResponse> Answer(const Core& core, absl::Duration steady,
                                               const v1::ListWorkersRequest& request);

}  // namespace rung
