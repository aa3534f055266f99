// What goes into the core and what comes out of it. Values only; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/rung/v1/rung.pb.h"
#include "search/study_spec.h"
#include "storage/study_store.h"

namespace rung {

struct Now {
  absl::Time wall;        // for records only
  absl::Duration steady;  // for leases and waits
};

// A CreateStudyRequest that its caller's thread has read already: a large space takes long.
struct NewStudy {
  v1::CreateStudyRequest request;
  StudySpec spec;
};
// Errors: those of StudySpec::Parse.
absl::StatusOr<NewStudy> ReadStudy(const v1::CreateStudyRequest& request);

// What is said to the core beside the requests of the wire.
struct StreamOpened {
  std::string worker, instance;
};
struct StreamClosed {
  std::string worker, instance;
};
struct CallCancelled {
  int64_t ticket = 0;  // of the waiting call
};
struct ProcessGone {  // proof of death
  std::string worker, instance;
};
struct DrainAll {};

struct Command {
  int64_t ticket = 0;  // names the caller in Effects::replies; 0: nobody waits
  std::variant<v1::RegisterRequest, v1::LeaseRequest, v1::ProgressRequest, v1::ReportRequest,
               v1::ReleaseRequest, v1::CreateStudyRequest, v1::SetStudyStateRequest, v1::GetStudyRequest,
               v1::WorkerGoneRequest, v1::EndWorkerRequest, NewStudy, StreamOpened, StreamClosed,
               CallCancelled, ProcessGone, DrainAll>
      body;
};

struct Reply {
  int64_t ticket = 0;
  absl::Status status;
  std::string bytes;  // the serialized response
};

struct Push {
  std::string worker;
  v1::ProgressResponse response;
};

// Everything a group of commands leads to; the batch is stored before the rest happens.
struct Effects {
  Batch batch;
  std::vector<Reply> replies;
  std::vector<Push> pushes;
  std::vector<StudyId> created;       // their directories are made before the replies go out
  std::vector<std::string> obsolete;  // checkpoint directories that nobody needs any more
};

}  // namespace rung
