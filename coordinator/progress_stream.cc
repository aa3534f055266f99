#include "coordinator/progress_stream.h"

#include <deque>
#include <optional>
#include <utility>

#include "base/check.h"
#include "proto/wire.h"

namespace rung {

class ProgressStream final : public grpc::ServerBidiReactor<v1::ProgressRequest, v1::ProgressResponse> {
 public:
  ProgressStream(CoreLoop& loop, OpenStreams& open)
      : loop_(loop), open_(open), link_(std::make_shared<ProgressStream*>(this)) {
    StartRead(&incoming_);
  }

  // gRPC threads: they only hand over to the core thread.
  void OnReadDone(bool ok) override {
    if (!ok) return OnCoreThread([](ProgressStream& stream) { stream.Close(grpc::Status::OK); });
    loop_.NoteCall();
    if (!named_) {
      named_ = true;
      const std::string worker = incoming_.worker();
      const std::string instance = incoming_.instance();
      loop_.Submit(StreamOpened{worker, instance}, nullptr);
      OnCoreThread([worker, instance](ProgressStream& stream) { stream.Enlist(worker, instance); });
    }
    loop_.Submit(incoming_, [link = link_](const absl::Status& status, const std::string& bytes) {
      if (*link != nullptr) (*link)->Answer(status, bytes);
    });
  }
  void OnWriteDone(bool ok) override {
    OnCoreThread([ok](ProgressStream& stream) { stream.WriteDone(ok); });
  }
  void OnCancel() override {
    OnCoreThread([](ProgressStream& stream) {
      stream.Close(grpc::Status(grpc::StatusCode::CANCELLED, "the caller went away"));
    });
  }
  void OnDone() override { delete this; }

  // Core thread only, from here on.
  void Send(v1::ProgressResponse response) {
    outbox_.push_back(std::move(response));
    WriteNext();
  }

 private:
  template <typename Action>
  void OnCoreThread(Action action) {
    loop_.Post([link = link_, action](const Core&, StudyStore&) {
      if (*link != nullptr) action(**link);
    });
  }

  void Enlist(const std::string& worker, const std::string& instance) {
    worker_ = worker;
    instance_ = instance;
    open_.streams_[worker] = this;
  }

  void Answer(const absl::Status& status, const std::string& bytes) {
    if (!status.ok()) return Close(ToWire(status));
    v1::ProgressResponse response;
    RUNG_CHECK(response.ParseFromString(bytes), "the core's answer is readable");
    Send(std::move(response));
    if (!closing_.has_value()) StartRead(&incoming_);
  }

  void WriteNext() {
    if (writing_ || outbox_.empty() || closing_.has_value()) return;
    writing_ = true;
    outgoing_ = std::move(outbox_.front());
    outbox_.pop_front();
    StartWrite(&outgoing_);
  }

  void WriteDone(bool ok) {
    writing_ = false;
    if (closing_.has_value()) return End();
    if (!ok) return Close(grpc::Status(grpc::StatusCode::CANCELLED, "the stream broke"));
    WriteNext();
  }

  void Close(const grpc::Status& status) {
    if (closing_.has_value()) return;
    closing_ = status;
    const auto listed = open_.streams_.find(worker_);
    if (listed != open_.streams_.end() && listed->second == this) open_.streams_.erase(listed);
    if (!worker_.empty()) loop_.Submit(StreamClosed{worker_, instance_}, nullptr);
    if (!writing_) End();
  }

  void End() {
    *link_ = nullptr;  // nobody comes back to this object; it goes in OnDone
    Finish(*closing_);
  }

  CoreLoop& loop_;
  OpenStreams& open_;
  // Owners: this stream and the answers and tasks under way; the pointer in it is the core thread's.
  const std::shared_ptr<ProgressStream*> link_;
  v1::ProgressRequest incoming_;
  bool named_ = false;  // of the reading side

  // The core thread's:
  std::string worker_, instance_;
  v1::ProgressResponse outgoing_;
  std::deque<v1::ProgressResponse> outbox_;
  bool writing_ = false;
  std::optional<grpc::Status> closing_;
};

void OpenStreams::Send(const Push& push) {
  const auto stream = streams_.find(push.worker);
  if (stream != streams_.end()) stream->second->Send(push.response);
}

grpc::ServerBidiReactor<v1::ProgressRequest, v1::ProgressResponse>* NewProgressStream(CoreLoop& loop,
                                                                                      OpenStreams& open) {
  return new ProgressStream(loop, open);
}

}  // namespace rung
