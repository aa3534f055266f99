// A coordinator for the tests of the agent: a real gRPC server on a Unix socket of a real state directory,
// that grants what the test gives it and remembers what it is told. It can end and come back with another
// term.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "base/check.h"
#include "proto/endpoint.h"
#include "proto/process_identity.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "tests/worker/scratch.h"

namespace rung {

class FakeCoordinator final : public v1::Coordinator::Service {
 public:
  explicit FakeCoordinator(const Scratch& scratch) : dir_{scratch.path("state")} {
    for (const std::string& directory : {dir_.root, dir_.root + "/tokens", dir_.logs()}) {
      RUNG_CHECK(MakeDirectories(directory).ok(), "the state directory is made");
    }
    RUNG_CHECK(WriteFileAtomic(dir_.nonce(), "nonce-of-the-test").ok(), "the nonce is written");
    RUNG_CHECK(WriteFileAtomic(dir_.token("worker"), std::string(64, 'a')).ok(), "the token is written");
  }
  ~FakeCoordinator() override { Stop(); }

  void Start(int64_t term) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      term_ = term;
      stopping_ = false;
    }
    const auto socket = SocketPath(dir_);
    RUNG_CHECK(socket.ok(), "there is a place for the socket");
    unlink(socket->c_str());
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + *socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    RUNG_CHECK(server_ != nullptr, "the server starts");
    Endpoint endpoint;
    const ProcessIdentity self = ThisProcess();
    endpoint.term = term;
    endpoint.pid = self.pid;
    endpoint.process_start_time = self.start_time;
    endpoint.boot_id = self.boot_id;
    endpoint.host = self.host;
    endpoint.unix_path = *socket;
    RUNG_CHECK(WriteEndpoint(dir_, endpoint).ok(), "endpoint.json is written");
  }

  void Stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  const StateDir& dir() const { return dir_; }

  // Waits until `done` holds of what was seen; the lock is held while it is asked.
  bool WaitUntil(const std::function<bool()>& done) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), done);
  }
  void Grant(const v1::Attempt& attempt) {
    Do([&] { grants_.push_back(attempt); });
  }
  void Do(const std::function<void()>& change) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      change();
    }
    changed_.notify_all();
  }

  // What was seen and what is answered; touch them inside WaitUntil and Do, or when the agent has ended.
  std::vector<std::string> calls;  // "register", "report 3", "release 3", in order
  std::vector<v1::ReportRequest> reports;
  std::vector<v1::ReleaseRequest> releases;
  std::vector<v1::RegisterRequest> registrations;
  std::vector<v1::ProgressRequest> progress;
  std::vector<v1::LeaseRequest> leases;
  std::function<void()> on_report;          // inside the lock
  std::deque<grpc::Status> report_answers;  // taken first; then OK
  std::deque<grpc::Status> lease_answers;
  int streams_to_break = 0;                    // each ends after its first message, unanswered
  v1::Command command = v1::COMMAND_CONTINUE;  // to the next message that names an attempt
  bool acknowledge = true;
  v1::IdleReason idle = v1::IDLE_REASON_STUDY_DONE;  // when there is nothing to grant

 private:
  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                     v1::HelloResponse* response) override {
    const auto token = context->client_metadata().find("authorization");
    if (token == context->client_metadata().end() || token->second != "Bearer " + std::string(64, 'a')) {
      return {grpc::StatusCode::UNAUTHENTICATED, "no token"};
    }
    if (request->protocol_max() < 1) return {grpc::StatusCode::FAILED_PRECONDITION, "protocol"};
    const std::lock_guard<std::mutex> lock(mutex_);
    response->set_protocol(1);
    response->set_term(term_);
    response->set_heartbeat_seconds(0.05);
    return grpc::Status::OK;
  }

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    if (request->state_dir_nonce() != "nonce-of-the-test")
      return {grpc::StatusCode::FAILED_PRECONDITION, "nonce"};
    Do([&] {
      calls.push_back("register");
      registrations.push_back(*request);
      response->set_term(term_);
    });
    response->set_worker("host-" + request->slot());
    return grpc::Status::OK;
  }

  grpc::Status Lease(grpc::ServerContext* context, const v1::LeaseRequest* request,
                     v1::LeaseResponse* response) override {
    std::unique_lock<std::mutex> lock(mutex_);
    leases.push_back(*request);
    changed_.notify_all();
    response->set_term(term_);
    if (!lease_answers.empty()) {
      const grpc::Status answer = lease_answers.front();
      lease_answers.pop_front();
      return answer;
    }
    while (!stopping_ && !context->IsCancelled() && grants_.empty() && idle == v1::IDLE_REASON_WAIT) {
      changed_.wait_for(lock, std::chrono::milliseconds(20));
    }
    if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "stopping"};
    if (!TakeGrant(*response->mutable_attempt())) {
      response->clear_attempt();
      response->set_idle(idle);
    }
    return grpc::Status::OK;
  }

  grpc::Status Progress(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ProgressResponse, v1::ProgressRequest>* stream) override {
    v1::ProgressRequest request;
    while (stream->Read(&request)) {
      v1::ProgressResponse response;
      bool broken = false;
      Do([&] {
        broken = streams_to_break > 0;
        if (broken) {
          --streams_to_break;
          return;
        }
        progress.push_back(request);
        response.set_term(term_);
        if (acknowledge) response.set_ack(request.seq());
        response.set_command(v1::COMMAND_CONTINUE);
        if (request.has_attempt()) {
          *response.mutable_attempt() = request.attempt();
          response.set_command(command);
          command = v1::COMMAND_CONTINUE;
        }
      });
      if (broken) return {grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"};
      if (!stream->Write(response)) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status Report(grpc::ServerContext*, const v1::ReportRequest* request,
                      v1::ReportResponse* response) override {
    grpc::Status answer;
    Do([&] {
      if (!report_answers.empty()) {
        answer = report_answers.front();
        report_answers.pop_front();
      }
      if (on_report) on_report();
      calls.push_back("report " + std::to_string(request->attempt().trial()));
      reports.push_back(*request);
      response->set_term(term_);
      response->set_accepted(true);
      if (answer.ok() && request->want_next() && !TakeGrant(*response->mutable_next()))
        response->clear_next();
    });
    return answer;
  }

  grpc::Status Release(grpc::ServerContext*, const v1::ReleaseRequest* request,
                       v1::ReleaseResponse* response) override {
    Do([&] {
      calls.push_back("release " + std::to_string(request->attempt().trial()));
      releases.push_back(*request);
      response->set_term(term_);
    });
    return grpc::Status::OK;
  }

  bool TakeGrant(v1::Attempt& attempt) {
    if (grants_.empty()) return false;
    attempt = grants_.front();
    grants_.pop_front();
    return true;
  }

  const StateDir dir_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;  // guards all that follows and the public members
  std::condition_variable changed_;
  int64_t term_ = 0;
  bool stopping_ = false;
  std::deque<v1::Attempt> grants_;
};

}  // namespace rung
