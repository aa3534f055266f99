#include "bench/service/load_worker.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <utility>

#include <grpcpp/support/client_callback.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "proto/wire.h"

namespace rung {
namespace {

constexpr double kLeaseWaitSeconds = 30;
constexpr char kMetric[] = "validation/accuracy";

}  // namespace

class LoadWorker::Stream final : public grpc::ClientBidiReactor<v1::ProgressRequest, v1::ProgressResponse> {
 public:
  explicit Stream(const CoordinatorSession& session) {
    session.Prepare(context_, absl::InfiniteDuration());
    session.stub->async()->Progress(&context_, this);
    AddHold();  // Say writes from outside the stream's own calls
    StartRead(&incoming_);
    StartCall();
  }
  ~Stream() override {
    context_.TryCancel();
    RemoveHold();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

  void Say(v1::ProgressRequest message) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (std::exchange(writing_, true)) return;
      outgoing_ = std::move(message);
      outgoing_.set_seq(++seq_);
    }
    StartWrite(&outgoing_);
  }

  void OnReadDone(bool ok) override {
    if (ok) StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = !ok;
  }
  void OnDone(const grpc::Status&) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

 private:
  grpc::ClientContext context_;
  v1::ProgressResponse incoming_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  v1::ProgressRequest outgoing_;
  int64_t seq_ = 0;
  bool writing_ = false;  // for ever where the stream broke
  bool done_ = false;
};

absl::StatusOr<std::unique_ptr<LoadWorker>> LoadWorker::Attach(const StateDir& dir, int64_t number) {
  WorkerIdentity identity;
  identity.slot = absl::StrCat("load-", number);
  identity.instance = absl::StrCat(identity.slot, "-", getpid());
  identity.device = "cpu";
  RUNG_ASSIGN_OR_RETURN(std::shared_ptr<CoordinatorSession> session, Greet(dir, 0));
  RUNG_RETURN_IF_ERROR(Register(dir, identity, *session));
  std::unique_ptr<LoadWorker> worker(new LoadWorker(std::move(session), std::move(identity)));
  worker->Beat();
  return worker;
}

LoadWorker::LoadWorker(std::shared_ptr<CoordinatorSession> session, WorkerIdentity identity)
    : session_(std::move(session)),
      identity_(std::move(identity)),
      stream_(std::make_unique<Stream>(*session_)) {}

LoadWorker::~LoadWorker() = default;

v1::LeaseRequest LoadWorker::AskForWork() const {
  v1::LeaseRequest request;
  request.set_worker(session_->worker);
  request.set_instance(identity_.instance);
  request.set_wait_seconds(kLeaseWaitSeconds);
  return request;
}

absl::Status LoadWorker::OnLeased(const grpc::Status& status, const v1::LeaseResponse& response) {
  RUNG_RETURN_IF_ERROR(FromWire(status));
  if (!response.has_attempt()) return absl::UnavailableError("the study gives no more work");
  attempt_ = response.attempt().key();
  return session_->CheckTerm(response.term());
}

v1::ReportRequest LoadWorker::Report() {
  v1::ReportRequest request;
  request.set_worker(session_->worker);
  request.set_instance(identity_.instance);
  request.set_request_id(absl::StrCat(identity_.instance, "-", ++requests_));
  *request.mutable_attempt() = *attempt_;
  ResultValues result;
  result.values[kMetric] = static_cast<double>(attempt_->trial() % 1000) / 1000;
  result.charged = 1;
  result.device_seconds = 1;
  *request.mutable_result() = ToWire(result);
  return request;
}

absl::Status LoadWorker::OnReported(const grpc::Status& status) {
  attempt_.reset();
  return FromWire(status);
}

// Says nothing of the attempt: whether it is still held is the calls' to say, and they run on other threads.
void LoadWorker::Beat() {
  v1::ProgressRequest message;
  message.set_worker(session_->worker);
  message.set_instance(identity_.instance);
  stream_->Say(std::move(message));
}

absl::Status HideSocket(const StateDir& dir) {
  RUNG_ASSIGN_OR_RETURN(const Endpoint endpoint, ReadEndpoint(dir));
  if (endpoint.tcp.empty()) return absl::FailedPreconditionError("start rungd with --listen");
  unlink(endpoint.unix_path.c_str());
  return absl::OkStatus();
}

}  // namespace rung
