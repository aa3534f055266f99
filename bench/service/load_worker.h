// A worker without a trainer, for the drivers of load: its connection, registration and Progress stream are
// those of a worker on another host (worker/coordinator_session.h), over TLS with the worker's token. The
// caller's: one call at a time. Not thread-safe but for Beat.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.pb.h"
#include "worker/coordinator_session.h"

namespace rung {

class LoadWorker {
 public:
  // Slot "load-NUMBER". Errors: those of Greet and Register.
  static absl::StatusOr<std::unique_ptr<LoadWorker>> Attach(const StateDir& dir, int64_t number);
  // Ends the stream.
  ~LoadWorker();

  const CoordinatorSession& session() const { return *session_; }
  bool leased() const { return attempt_.has_value(); }

  v1::LeaseRequest AskForWork() const;
  // Errors: Unavailable (no work), or the call's.
  absl::Status OnLeased(const grpc::Status& status, const v1::LeaseResponse& response);
  v1::ReportRequest Report();
  absl::Status OnReported(const grpc::Status& status);
  // A heartbeat on the stream. From any thread; nothing where the one before is still being written.
  void Beat();

 private:
  class Stream;
  LoadWorker(std::shared_ptr<CoordinatorSession> session, WorkerIdentity identity);

  const std::shared_ptr<CoordinatorSession> session_;
  const WorkerIdentity identity_;
  std::optional<v1::JobKey> attempt_;
  int64_t requests_ = 0;
  std::unique_ptr<Stream> stream_;
};

// Takes the coordinator's Unix socket out of the way, so that workers of this host too connect over TLS.
// Errors: FailedPrecondition where it does not listen.
absl::Status HideSocket(const StateDir& dir);

}  // namespace rung
