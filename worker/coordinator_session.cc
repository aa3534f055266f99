#include "worker/coordinator_session.h"

#include <grpc/support/time.h>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/process_identity.h"
#include "proto/version.h"
#include "proto/wire.h"

namespace rung {
namespace {

constexpr int64_t kMaxNonceBytes = 4096;

absl::Status Absent(const StateDir& dir, const std::string& problem) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0711", absl::StrFormat("no coordinator answers: %s", problem), dir.endpoint(), "",
                    "Start one with: rung serve, or rung run STUDY.json"});
}

}  // namespace

bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
}

void CoordinatorSession::Prepare(grpc::ClientContext& context, absl::Duration deadline) const {
  Authorize(context, token);
  if (deadline == absl::InfiniteDuration()) return;
  context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                    gpr_time_from_millis(absl::ToInt64Milliseconds(deadline), GPR_TIMESPAN)));
}

absl::Status CoordinatorSession::CheckTerm(int64_t answer_term) const {
  if (answer_term >= term) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kUnavailable,
      {"E0710", absl::StrFormat("a coordinator of term %d answered after one of term %d", answer_term, term),
       "", "", "End the older rungd: another one has taken its directory over"});
}

absl::StatusOr<std::shared_ptr<CoordinatorSession>> Greet(const StateDir& dir, int64_t oldest_term) {
  RUNG_ASSIGN_OR_RETURN(const Endpoint endpoint, ReadEndpoint(dir));
  if (endpoint.term < oldest_term) return Absent(dir, "endpoint.json is of an older term");
  if (ProvedDead(endpoint)) return Absent(dir, "the one that endpoint.json names has ended");
  auto session = std::make_shared<CoordinatorSession>();
  RUNG_ASSIGN_OR_RETURN(session->token, ReadToken(dir, "worker"));
  RUNG_ASSIGN_OR_RETURN(session->channel, Connect(dir, endpoint));
  session->stub = v1::Coordinator::NewStub(session->channel);
  grpc::ClientContext context;
  session->Prepare(context, kCallDeadline);
  v1::HelloRequest request;
  request.set_protocol_min(kProtocolMin);
  request.set_protocol_max(kProtocolMax);
  request.set_build(absl::StrFormat("rung-worker %s", kVersion));
  v1::HelloResponse response;
  const grpc::Status answer = session->stub->Hello(&context, request, &response);
  if (answer.error_code() == grpc::StatusCode::UNAVAILABLE) return Absent(dir, answer.error_message());
  RUNG_RETURN_IF_ERROR(FromWire(answer));
  if (response.offline()) return Absent(dir, "it only answers questions (rungd --offline)");
  if (response.term() < oldest_term) return Absent(dir, "it is of an older term");
  session->term = response.term();
  session->heartbeat_seconds = response.heartbeat_seconds();
  return session;
}

absl::Status Register(const StateDir& dir, const WorkerIdentity& identity, CoordinatorSession& session) {
  v1::RegisterRequest request;
  request.set_slot(identity.slot);
  request.set_instance(identity.instance);
  request.set_device(identity.device);
  request.set_slurm_job(identity.slurm_job);
  RUNG_ASSIGN_OR_RETURN(*request.mutable_state_dir_nonce(), ReadFile(dir.nonce(), kMaxNonceBytes));
  const ProcessIdentity self = ThisProcess();
  v1::ProcessIdentity& process = *request.mutable_process();
  process.set_host(self.host);
  process.set_boot_id(self.boot_id);
  process.set_pid(self.pid);
  process.set_start_time(self.start_time);
  grpc::ClientContext context;
  session.Prepare(context, kCallDeadline);
  v1::RegisterResponse response;
  RUNG_RETURN_IF_ERROR(FromWire(session.stub->Register(&context, request, &response)));
  session.worker = response.worker();
  return session.CheckTerm(response.term());
}

}  // namespace rung
