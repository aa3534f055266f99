// Reactors of gRPC's callback API over the core loop. Each owns itself and ends in OnDone; a cancelled call
// finishes at once, else Server::Shutdown would wait for it for ever (grpc issue 39114).
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "coordinator/core_loop.h"
#include "proto/wire.h"

namespace rung {

// One unary call. Whoever claims it first (answer or cancellation) finishes it; after that nobody touches the
// reactor.
template <typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Outlives the reactor: the core may answer a call that is long cancelled.
  class Ticket {
   public:
    explicit Ticket(UnaryCall* call) : call_(call) {}
    void Answer(const absl::Status& status, const std::string& bytes) {
      if (claimed_.exchange(true)) return;
      if (status.ok() && !call_->response_->ParseFromString(bytes)) {
        call_->Finish(grpc::Status(grpc::StatusCode::INTERNAL, "the answer is not readable"));
      } else {
        call_->Finish(ToWire(status));
      }
    }
    void Answer(absl::StatusOr<Response> response) {
      if (claimed_.exchange(true)) return;
      if (response.ok()) *call_->response_ = *std::move(response);
      call_->Finish(ToWire(response.status()));
    }

   private:
    friend class UnaryCall;
    UnaryCall* const call_;
    std::atomic<bool> claimed_{false};
    std::atomic<int64_t> number_{0};
  };

  UnaryCall(CoreLoop& loop, Response* response)
      : loop_(loop), response_(response), ticket_(std::make_shared<Ticket>(this)) {}

  std::shared_ptr<Ticket> ticket() const { return ticket_; }  // owners: this call and the core's answer

  template <typename Request>
  static UnaryCall* Submitted(CoreLoop& loop, const Request& request, Response* response) {
    auto* call = new UnaryCall(loop, response);
    const std::shared_ptr<Ticket> ticket = call->ticket_;
    loop.NoteCall();
    ticket->number_ = loop.Submit(request, [ticket](const absl::Status& status, const std::string& bytes) {
      ticket->Answer(status, bytes);
    });
    return call;
  }

  void OnCancel() override {
    const int64_t number = ticket_->number_;
    if (ticket_->claimed_.exchange(true)) return;
    Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller went away"));
    if (number != 0) loop_.Submit(CallCancelled{number}, nullptr);
  }
  void OnDone() override { delete this; }

 private:
  CoreLoop& loop_;
  Response* const response_;
  const std::shared_ptr<Ticket> ticket_;
};

}  // namespace rung
