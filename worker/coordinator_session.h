// One connection to one coordinator: found through endpoint.json, greeted (Hello) and registered. Calls have
// deadlines and refuse answers of an older term. Thread-safe after Attach.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.grpc.pb.h"

namespace rung {

inline constexpr absl::Duration kCallDeadline = absl::Seconds(10);
inline constexpr absl::Duration kLeaseDeadline = absl::Seconds(40);
inline constexpr absl::Duration kMinBackoff = absl::Milliseconds(100);
inline constexpr absl::Duration kMaxBackoff = absl::Seconds(3);

// Who this worker is; the same for all its sessions.
struct WorkerIdentity {
  std::string slot;
  std::string instance;  // random, new with each process
  std::string device;
  std::string slurm_job;
};

// The call's answer did not come, and may come another time.
bool IsPassing(const absl::Status& status);

struct CoordinatorSession {
  int64_t generation = 0;  // from 1, grows with each session of this process
  int64_t term = 0;
  std::string worker;  // name given by the coordinator: HOST-SLOT
  double heartbeat_seconds = 0;
  std::string token;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Coordinator::Stub> stub;

  // Deadline and token. For streams too, without a deadline: an infinite duration.
  void Prepare(grpc::ClientContext& context, absl::Duration deadline) const;
  // Unavailable (E0710) if `answer_term` is older than this session's.
  absl::Status CheckTerm(int64_t answer_term) const;
};

// A session that said Hello but is not registered yet. Errors: NotFound (E0611), Unavailable (E0711: nobody
// answers, an offline coordinator, or one of a term before `oldest_term`), FailedPrecondition (versions do
// not overlap), PermissionDenied, Unauthenticated.
absl::StatusOr<std::shared_ptr<CoordinatorSession>> Greet(const StateDir& dir, int64_t oldest_term);

// Registers the worker on a greeted session. Errors: the coordinator's; FailedPrecondition where the
// directory is not shared.
absl::Status Register(const StateDir& dir, const WorkerIdentity& identity, CoordinatorSession& session);

}  // namespace rung
