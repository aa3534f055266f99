#include "coordinator/server.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <utility>

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "coordinator/access.h"
#include "coordinator/backup_maker.h"
#include "coordinator/calls.h"
#include "coordinator/http_listener.h"
#include "coordinator/progress_stream.h"
#include "coordinator/reads.h"
#include "coordinator/state_directory.h"
#include "proto/message_limits.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "proto/wire.h"

namespace rung {
namespace {

constexpr int kKeepAliveMs = 30'000;
constexpr int kMinPingIntervalMs = 10'000;
constexpr int kHeartbeatsPerTtl = 3;
constexpr absl::Duration kLongestOverlap = absl::Hours(168);  // of two tokens of a role

absl::Status CheckAccess(const Access& access, const grpc::CallbackServerContext& context,
                         const std::string& rpc) {
  const auto found = context.client_metadata().find("authorization");
  const std::string authorization = found == context.client_metadata().end()
                                        ? std::string()
                                        : std::string(found->second.data(), found->second.size());
  return access.Check(authorization, rpc);
}

template <typename Response>
grpc::ServerUnaryReactor* Refuse(CoreLoop& loop, const absl::Status& status, Response* response) {
  auto* call = new UnaryCall<Response>(loop, response);
  call->ticket()->Answer(status, "");
  return call;
}

// The common start of a unary call: refused without the right token, else submitted to the core.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* Submit(CoreLoop& loop, const Access& access, grpc::CallbackServerContext* context,
                                 const std::string& rpc, const Request& request, Response* response) {
  if (const absl::Status allowed = CheckAccess(access, *context, rpc); !allowed.ok())
    return Refuse(loop, allowed, response);
  return UnaryCall<Response>::Submitted(loop, request, response);
}

// A call that only reads: `read(core, store)` runs on the core thread. After a failed commit the core knows
// what the store does not: nothing of that is told.
template <typename Response, typename Read>
grpc::ServerUnaryReactor* Look(CoreLoop& loop, const Access& access, grpc::CallbackServerContext* context,
                               const std::string& rpc, Response* response, Read read) {
  auto* call = new UnaryCall<Response>(loop, response);
  const auto ticket = call->ticket();
  loop.NoteCall();
  if (const absl::Status allowed = CheckAccess(access, *context, rpc); !allowed.ok()) {
    ticket->Answer(allowed, "");
  } else {
    loop.Post([&loop, ticket, read](const Core& core, StudyStore& store) {
      const absl::Status stored = loop.unavailable();
      if (stored.ok()) return ticket->Answer(read(core, store));
      ticket->Answer(stored, "");
    });
  }
  return call;
}

class CoordinatorService final : public v1::Coordinator::CallbackService {
 public:
  CoordinatorService(const ServerOptions& options, CoreLoop& loop, const Access& access)
      : options_(options), loop_(loop), access_(access) {}

  grpc::ServerUnaryReactor* Hello(grpc::CallbackServerContext* context, const v1::HelloRequest* request,
                                  v1::HelloResponse* response) override {
    auto* call = new UnaryCall<v1::HelloResponse>(loop_, response);
    absl::Status status = CheckAccess(access_, *context, "Coordinator/Hello");
    if (!status.ok()) {
      call->ticket()->Answer(status, "");
      return call;
    }
    if (request->protocol_min() > kProtocolMax || request->protocol_max() < kProtocolMin) {
      status =
          MakeError(absl::StatusCode::kFailedPrecondition,
                    {"E0614",
                     absl::StrFormat("the caller (%s) speaks protocols %d-%d, the coordinator (%s) %d-%d",
                                     request->build(), request->protocol_min(), request->protocol_max(),
                                     options_.build, kProtocolMin, kProtocolMax),
                     "", request->build(), "Use the same version of Rung on both sides"});
      call->ticket()->Answer(status, "");
      return call;
    }
    v1::HelloResponse hello;
    hello.set_protocol(std::min(request->protocol_max(), kProtocolMax));
    hello.set_build(options_.build);
    hello.set_term(options_.term);
    hello.set_heartbeat_seconds(absl::ToDoubleSeconds(options_.lease_ttl) / kHeartbeatsPerTtl);
    hello.set_offline(options_.offline);
    call->ticket()->Answer(absl::StatusOr<v1::HelloResponse>(std::move(hello)));
    return call;
  }
  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext* context, const v1::RegisterRequest* request,
                                     v1::RegisterResponse* response) override {
    return Submit(loop_, access_, context, "Coordinator/Register", *request, response);
  }
  grpc::ServerUnaryReactor* Lease(grpc::CallbackServerContext* context, const v1::LeaseRequest* request,
                                  v1::LeaseResponse* response) override {
    return Submit(loop_, access_, context, "Coordinator/Lease", *request, response);
  }
  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context, const v1::ReportRequest* request,
                                   v1::ReportResponse* response) override {
    return Submit(loop_, access_, context, "Coordinator/Report", *request, response);
  }
  grpc::ServerUnaryReactor* Release(grpc::CallbackServerContext* context, const v1::ReleaseRequest* request,
                                    v1::ReleaseResponse* response) override {
    return Submit(loop_, access_, context, "Coordinator/Release", *request, response);
  }
  grpc::ServerBidiReactor<v1::ProgressRequest, v1::ProgressResponse>* Progress(
      grpc::CallbackServerContext* context) override {
    if (const absl::Status allowed = CheckAccess(access_, *context, "Coordinator/Progress"); !allowed.ok()) {
      return new Refused(ToWire(allowed));
    }
    return NewProgressStream(loop_, open_);
  }
  OpenStreams& open_streams() { return open_; }

 private:
  class Refused final : public grpc::ServerBidiReactor<v1::ProgressRequest, v1::ProgressResponse> {
   public:
    explicit Refused(const grpc::Status& status) { Finish(status); }
    void OnDone() override { delete this; }
  };

  const ServerOptions& options_;
  CoreLoop& loop_;
  const Access& access_;
  OpenStreams open_;
};

// On the core thread: one at a time, and only while the directory is ours.
absl::Status RotateToken(const ServerOptions& options, CoreLoop& loop, Access& access,
                         const v1::RotateTokenRequest& request) {
  if (options.offline) return Core::OfflineError();
  RUNG_RETURN_IF_ERROR(loop.unavailable());
  if (!options.tokens.contains(request.role())) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0655", "there is no role " + request.role(), "role", request.role(),
                      "Use admin, worker or viewer"});
  }
  const absl::Duration overlap = absl::Seconds(request.overlap_seconds());
  if (!(overlap >= absl::ZeroDuration() && overlap <= kLongestOverlap)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0655", "an old token is not taken for so long", "overlap",
                      absl::FormatDuration(overlap), "Use a time from 0s to 168h"});
  }
  RUNG_RETURN_IF_ERROR(loop.CheckLock());
  RUNG_ASSIGN_OR_RETURN(const std::string token, ReplaceToken(options.dir, request.role()));
  access.Replace(request.role(), token, overlap);
  return absl::OkStatus();
}

class StudiesService final : public v1::Studies::CallbackService {
 public:
  StudiesService(const ServerOptions& options, CoreLoop& loop, Access& access, Clock& clock)
      : options_(options), loop_(loop), access_(access), clock_(clock), backups_(loop, clock) {}

  grpc::ServerUnaryReactor* CreateStudy(grpc::CallbackServerContext* context,
                                        const v1::CreateStudyRequest* request,
                                        v1::CreateStudyResponse* response) override {
    if (const absl::Status allowed = CheckAccess(access_, *context, "Studies/CreateStudy"); !allowed.ok())
      return Refuse(loop_, allowed, response);
    const absl::StatusOr<NewStudy> wanted = ReadStudy(*request);  // here, and not on the core's thread
    if (!wanted.ok()) return Refuse(loop_, wanted.status(), response);
    return UnaryCall<v1::CreateStudyResponse>::Submitted(loop_, *wanted, response);
  }
  grpc::ServerUnaryReactor* SetStudyState(grpc::CallbackServerContext* context,
                                          const v1::SetStudyStateRequest* request,
                                          v1::StudyStatus* response) override {
    return Submit(loop_, access_, context, "Studies/SetStudyState", *request, response);
  }
  grpc::ServerUnaryReactor* GetStudy(grpc::CallbackServerContext* context, const v1::GetStudyRequest* request,
                                     v1::StudyStatus* response) override {
    return Submit(loop_, access_, context, "Studies/GetStudy", *request, response);
  }
  grpc::ServerUnaryReactor* WorkerGone(grpc::CallbackServerContext* context,
                                       const v1::WorkerGoneRequest* request,
                                       v1::WorkerGoneResponse* response) override {
    return Submit(loop_, access_, context, "Studies/WorkerGone", *request, response);
  }
  grpc::ServerUnaryReactor* EndWorker(grpc::CallbackServerContext* context,
                                      const v1::EndWorkerRequest* request,
                                      v1::EndWorkerResponse* response) override {
    return Submit(loop_, access_, context, "Studies/EndWorker", *request, response);
  }
  grpc::ServerUnaryReactor* ListStudies(grpc::CallbackServerContext* context,
                                        const v1::ListStudiesRequest* request,
                                        v1::ListStudiesResponse* response) override {
    return Look(loop_, access_, context, "Studies/ListStudies", response,
                [request = *request](const Core& core, StudyStore&) { return Answer(core, request); });
  }
  grpc::ServerUnaryReactor* ListTrials(grpc::CallbackServerContext* context,
                                       const v1::ListTrialsRequest* request,
                                       v1::ListTrialsResponse* response) override {
    return Look(loop_, access_, context, "Studies/ListTrials", response,
                [request = *request](const Core& core, StudyStore&) { return Answer(core, request); });
  }
  grpc::ServerUnaryReactor* GetTrial(grpc::CallbackServerContext* context, const v1::GetTrialRequest* request,
                                     v1::TrialDetail* response) override {
    return Look(
        loop_, access_, context, "Studies/GetTrial", response,
        [request = *request](const Core& core, StudyStore& store) { return Answer(core, store, request); });
  }
  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override {
    return Look(loop_, access_, context, "Studies/ListWorkers", response,
                [this, request = *request](const Core& core, StudyStore&) {
                  return Answer(core, clock_.Steady(), request);
                });
  }
  grpc::ServerUnaryReactor* ListEvents(grpc::CallbackServerContext* context,
                                       const v1::ListEventsRequest* request,
                                       v1::ListEventsResponse* response) override {
    return Look(
        loop_, access_, context, "Studies/ListEvents", response,
        [request = *request](const Core& core, StudyStore& store) { return Answer(core, store, request); });
  }
  grpc::ServerUnaryReactor* ListPoints(grpc::CallbackServerContext* context,
                                       const v1::ListPointsRequest* request,
                                       v1::ListPointsResponse* response) override {
    return Look(
        loop_, access_, context, "Studies/ListPoints", response,
        [request = *request](const Core& core, StudyStore& store) { return Answer(core, store, request); });
  }
  grpc::ServerUnaryReactor* CreateBackup(grpc::CallbackServerContext* context,
                                         const v1::CreateBackupRequest* request,
                                         v1::CreateBackupResponse* response) override {
    auto* call = new UnaryCall<v1::CreateBackupResponse>(loop_, response);
    const auto ticket = call->ticket();
    loop_.NoteCall();
    if (const absl::Status allowed = CheckAccess(access_, *context, "Studies/CreateBackup"); !allowed.ok()) {
      ticket->Answer(allowed, "");
    } else {
      backups_.Make(options_.dir, request->path(), [ticket](absl::StatusOr<v1::CreateBackupResponse> made) {
        ticket->Answer(std::move(made));
      });
    }
    return call;
  }
  grpc::ServerUnaryReactor* RotateToken(grpc::CallbackServerContext* context,
                                        const v1::RotateTokenRequest* request,
                                        v1::RotateTokenResponse* response) override {
    auto* call = new UnaryCall<v1::RotateTokenResponse>(loop_, response);
    const auto ticket = call->ticket();
    loop_.NoteCall();
    if (const absl::Status allowed = CheckAccess(access_, *context, "Studies/RotateToken"); !allowed.ok()) {
      ticket->Answer(allowed, "");
    } else {
      loop_.Post([this, ticket, request = *request](const Core&, StudyStore&) {
        ticket->Answer(rung::RotateToken(options_, loop_, access_, request), "");
      });
    }
    return call;
  }
  grpc::ServerUnaryReactor* Shutdown(grpc::CallbackServerContext* context, const v1::ShutdownRequest* request,
                                     v1::ShutdownResponse* response) override {
    auto* call = new UnaryCall<v1::ShutdownResponse>(loop_, response);
    const absl::Status allowed = CheckAccess(access_, *context, "Studies/Shutdown");
    const bool drain = request->drain();
    call->ticket()->Answer(allowed, "");
    if (allowed.ok() && options_.on_shutdown) options_.on_shutdown(drain);
    return call;
  }

 private:
  const ServerOptions& options_;
  CoreLoop& loop_;
  Access& access_;
  Clock& clock_;
  BackupMaker backups_;
};

ProcessFigures MeasureProcess(const ServerOptions& options, absl::Time started) {
  ProcessFigures figures;
  figures.start_time_seconds = absl::ToDoubleSeconds(started - absl::UnixEpoch());
  int64_t pages = 0;
  if (const auto statm = ReadFile("/proc/self/statm"); statm.ok()) {
    const std::vector<std::string> fields = absl::StrSplit(*statm, ' ');
    if (fields.size() > 1 && absl::SimpleAtoi(fields[1], &pages))
      figures.resident_memory_bytes = pages * sysconf(_SC_PAGESIZE);
  }
  struct stat info {};
  if (stat(options.database.c_str(), &info) == 0) figures.database_bytes = info.st_size;
  struct statvfs disk {};
  if (statvfs(options.dir.root.c_str(), &disk) == 0)
    figures.free_bytes = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
  return figures;
}

// /metrics wants a viewer's token, as gRPC does; /healthz says only whether anything is stored.
HttpAnswer AnswerHttp(const HttpRequest& request, const ServerOptions& options, const Access& access,
                      CoreLoop& loop, Clock& clock, absl::Time started) {
  HttpAnswer answer;
  const HttpAnswer unavailable = {503, answer.type, "not serving\n"};
  if (request.path == "/healthz") {
    if (!loop.failure().ok()) return unavailable;
    answer.body = "ok\n";
    return answer;
  }
  if (request.path != "/metrics") return {404, answer.type, "there is /metrics and /healthz\n"};
  if (const absl::Status allowed = access.Check(request.authorization, "http/metrics"); !allowed.ok()) {
    return {absl::IsUnauthenticated(allowed) ? 401 : 403, answer.type, std::string(allowed.message()) + "\n"};
  }
  const ProcessFigures process = MeasureProcess(options, started);
  bool stored = false;
  const bool ran = loop.Run([&](const Core& core, StudyStore&) {
    stored = loop.failure().ok();
    if (stored) answer.body = MetricsText(core, loop.figures(), process, clock.Steady());
  });
  if (!ran || !stored) return unavailable;
  answer.type = "text/plain; version=0.0.4; charset=utf-8";
  return answer;
}

class GrpcServer final : public Server {
 public:
  GrpcServer(ServerOptions options, CoreLoop& loop)
      : options_(std::move(options)),
        access_(options_.tokens, clock_),
        coordinator_(options_, loop, access_),
        studies_(options_, loop, access_, clock_) {}
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Bind(CoreLoop& loop) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
    builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
    builder.SetMaxSendMessageSize(kMaxReplyBytes);
    int unix_bound = 0;
    unlink(options_.unix_path.c_str());  // of a coordinator that died: the directory's lock is ours
    builder.AddListeningPort("unix:" + options_.unix_path, grpc::InsecureServerCredentials(), &unix_bound);
    if (!options_.listen.empty()) {
      grpc::SslServerCredentialsOptions tls;
      tls.pem_key_cert_pairs.push_back({options_.tls.key_pem, options_.tls.certificate_pem});
      builder.AddListeningPort(options_.listen, grpc::SslServerCredentials(tls), &tcp_port_);
    }
    builder.RegisterService(&coordinator_);
    builder.RegisterService(&studies_);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr) {
      RUNG_RETURN_IF_ERROR(StartHttp(loop));
      chmod(options_.unix_path.c_str(), 0600);  // its directory, 0700, is what keeps others out
      loop.Start([this](const Push& push) { coordinator_.open_streams().Send(push); },
                 [this] { StopServing(); });
      return absl::OkStatus();
    }
    if (unix_bound == 0) {
      return MakeError(absl::StatusCode::kInternal,
                       {"E0631", "cannot bind the Unix socket", options_.unix_path, "",
                        "Set XDG_RUNTIME_DIR to a private directory of yours"});
    }
    return MakeError(absl::StatusCode::kInternal,
                     {"E0630", "cannot listen on " + options_.listen + ": the port is in use", "--listen",
                      options_.listen, "Use --listen auto, or another port"});
  }

  int tcp_port() const override { return tcp_port_; }
  std::string metrics() const override { return http_ == nullptr ? "" : http_->address(); }
  void StopServing() override { server_->GetHealthCheckService()->SetServingStatus(false); }
  void Shutdown(absl::Duration patience) override {
    if (server_ == nullptr || std::exchange(shut_down_, true)) return;
    server_->Shutdown(absl::ToChronoTime(clock_.Now() + patience));
    server_->Wait();
    http_ = nullptr;
  }

 private:
  absl::Status StartHttp(CoreLoop& loop) {
    if (options_.metrics.empty()) return absl::OkStatus();
    const auto handler = [this, &loop](const HttpRequest& request) {
      return AnswerHttp(request, options_, access_, loop, clock_, started_);
    };
    RUNG_ASSIGN_OR_RETURN(http_, HttpListener::Start(options_.metrics, handler, clock_));
    return absl::OkStatus();
  }

  const ServerOptions options_;
  SystemClock clock_;
  Access access_;
  const absl::Time started_ = clock_.Now();
  CoordinatorService coordinator_;
  StudiesService studies_;
  std::unique_ptr<grpc::Server> server_;  // the loop's thread speaks to it until the loop is stopped
  std::unique_ptr<HttpListener> http_;
  bool shut_down_ = false;
  int tcp_port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, CoreLoop& loop) {
  auto server = std::make_unique<GrpcServer>(options, loop);
  RUNG_RETURN_IF_ERROR(server->Bind(loop));
  return server;
}

}  // namespace rung
