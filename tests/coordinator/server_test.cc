#include "coordinator/server.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <future>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "coordinator/access.h"
#include "coordinator/state_directory.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "proto/wire.h"
#include "tests/coordinator/demo_study.h"
#include "tests/coordinator/http_client.h"
#include "tests/scratch.h"
#include "tests/storage/lossy_disk.h"

namespace rung {
namespace {

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";
const std::string kServing("\x08\x01", 2), kNotServing("\x08\x02", 2);  // a HealthCheckResponse's bytes

struct RawAnswer {
  grpc::Status status;
  std::string bytes;
};

// A call by its name, with an empty message; `authorization` may be empty.
RawAnswer CallByName(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& authorization) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  RawAnswer answer;
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &answer.status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  std::vector<grpc::Slice> slices;
  if (answer.status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices)
      answer.bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return answer;
}

// A server over a real Unix socket, in a state directory with a path of more than 150 characters.
struct Running {
  explicit Running(const std::string& listen = "", const std::string& metrics = "") {
    dir.root = scratch.root() + "/" + std::string(150, 'd');
    auto prepared = PrepareStateDirectory(dir);
    REQUIRE(prepared.ok());
    secrets = *prepared;
    CoreOptions core;
    core.dir = dir;
    core.nonce = secrets.nonce;
    loop = std::make_unique<CoreLoop>(Core(core), *StudyStore::Open(dir.database()), nullptr, clock, log);
    ServerOptions options;
    auto socket = SocketPath(dir);
    REQUIRE(socket.ok());
    options.unix_path = *socket;
    options.tokens = secrets.tokens;
    options.dir = dir;
    options.database = dir.database();
    options.metrics = metrics;
    if (!listen.empty()) {
      auto tls = PrepareTls(dir, {"localhost", "127.0.0.1"}, clock);
      REQUIRE(tls.ok());
      options.tls = *tls;
      options.listen = listen;
    }
    options.lease_ttl = core.lease_ttl;
    auto started = Server::Start(options, *loop);
    REQUIRE(started.ok());
    server = *std::move(started);
    channel = grpc::CreateChannel("unix:" + *socket, grpc::InsecureChannelCredentials());
    if (!listen.empty()) {
      grpc::SslCredentialsOptions trust;
      trust.pem_root_certs = options.tls.ca_pem;
      over_tls =
          grpc::CreateChannel("localhost:" + std::to_string(server->tcp_port()), grpc::SslCredentials(trust));
    }
    coordinator = v1::Coordinator::NewStub(channel);
    studies = v1::Studies::NewStub(channel);
  }
  ~Running() {
    server->Shutdown(absl::ZeroDuration());
    loop->Stop();
    server = nullptr;
    loop = nullptr;
  }
  void Allow(grpc::ClientContext& context, const std::string& role) {
    if (!role.empty()) Authorize(context, role == "wrong" ? std::string(64, '0') : secrets.tokens.at(role));
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
  std::string Register() {
    v1::RegisterRequest request;
    request.set_slot("0");
    request.set_instance("a");
    request.mutable_process()->set_host("h");
    request.set_state_dir_nonce(secrets.nonce);
    v1::RegisterResponse response;
    grpc::ClientContext context;
    Allow(context, "worker");
    REQUIRE(coordinator->Register(&context, request, &response).ok());
    return response.worker();
  }

  const Scratch scratch;
  StateDir dir;
  Secrets secrets;
  SystemClock clock;
  Log log{"test", clock};
  std::unique_ptr<CoreLoop> loop;
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel, over_tls;
  std::unique_ptr<v1::Coordinator::Stub> coordinator;
  std::unique_ptr<v1::Studies::Stub> studies;
};

}  // namespace

TEST_CASE("who may call what") {
  using Roles = std::vector<std::string>;
  const Roles all = {"admin", "worker", "viewer"}, workers = {"admin", "worker"},
              readers = {"admin", "viewer"}, admin = {"admin"};
  const std::map<std::string, Roles> expected = {
      {"Coordinator/Hello", all},        {"Coordinator/Register", workers}, {"Coordinator/Lease", workers},
      {"Coordinator/Progress", workers}, {"Coordinator/Report", workers},   {"Coordinator/Release", workers},
      {"Studies/CreateStudy", admin},    {"Studies/SetStudyState", admin},  {"Studies/WorkerGone", admin},
      {"Studies/Shutdown", admin},       {"Studies/ListStudies", readers},  {"Studies/GetStudy", readers},
      {"Studies/ListTrials", readers},   {"Studies/GetTrial", readers},     {"Studies/ListWorkers", readers},
      {"Studies/ListEvents", readers},   {"Studies/ListPoints", readers},   {"Studies/CreateBackup", admin},
      {"Studies/EndWorker", admin},      {"Studies/RotateToken", admin}};
  std::map<std::string, Roles> table;
  const auto* file = v1::HelloRequest::descriptor()->file();
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      const std::string rpc = file->service(s)->name() + "/" + file->service(s)->method(m)->name();
      table[rpc] = Access::RolesOf(rpc);
    }
  }
  CHECK(table == expected);
  CHECK(Access::RolesOf("Studies/Unheard").empty());
}

TEST_CASE("nobody else may write to the socket", "[grpc]") {
  const Running running;
  struct stat info {};
  REQUIRE(lstat(SocketPath(running.dir)->c_str(), &info) == 0);
  CHECK(S_ISSOCK(info.st_mode));
  CHECK((info.st_mode & 07777) == 0600);
}

TEST_CASE("calls without the right token are refused on the socket too", "[grpc]") {
  Running running;
  const auto list = [&](const std::string& role) {
    grpc::ClientContext context;
    running.Allow(context, role);
    v1::ListStudiesResponse response;
    return FromWire(running.studies->ListStudies(&context, {}, &response));
  };
  CHECK(list("viewer").ok());
  CHECK(list("admin").ok());
  CHECK(GetErrorDetail(list("worker"))->code == "E0673");
  CHECK(GetErrorDetail(list("wrong"))->code == "E0672");
  CHECK(GetErrorDetail(list(""))->code == "E0672");
  grpc::ClientContext context;
  running.Allow(context, "viewer");
  auto stream = running.coordinator->Progress(&context);
  CHECK(stream->Finish().error_code() == grpc::StatusCode::PERMISSION_DENIED);
}

TEST_CASE("a waiting lease and an open stream do not keep the server from ending", "[grpc]") {
  Running running;
  const std::string worker = running.Register();
  grpc::ClientContext stream_context;
  running.Allow(stream_context, "worker");
  auto stream = running.coordinator->Progress(&stream_context);
  v1::ProgressRequest beat;
  beat.set_worker(worker);
  beat.set_instance("a");
  beat.set_seq(1);
  REQUIRE(stream->Write(beat));
  v1::ProgressResponse ack;
  REQUIRE(stream->Read(&ack));
  CHECK(ack.ack() == 1);
  auto lease = std::async(std::launch::async, [&] {
    v1::LeaseRequest request;
    request.set_worker(worker);
    request.set_instance("a");
    request.set_wait_seconds(30);
    v1::LeaseResponse response;
    grpc::ClientContext context;
    running.Allow(context, "worker");
    return running.coordinator->Lease(&context, request, &response).error_code();
  });
  // The socket must not block the state directory's long path, and the end must not wait for the callers.
  running.server->Shutdown(absl::Milliseconds(200));
  const auto code = lease.get();
  CHECK((code == grpc::StatusCode::CANCELLED || code == grpc::StatusCode::UNAVAILABLE));
  CHECK_FALSE(stream->Read(&ack));
}

TEST_CASE("after a failed commit every call is told UNAVAILABLE, and health says NOT_SERVING", "[grpc]") {
  LossyDisk disk(1);
  Running running;
  CHECK(CallByName(running.channel, kHealthCheck, "").bytes == kServing);
  disk.CutAfter(1);
  const auto call = [&](const auto& method) {
    grpc::ClientContext context;
    running.Allow(context, "admin");
    return method(&context).error_code();
  };
  v1::CreateStudyRequest create;
  create.set_canonical_json(kStudy);
  v1::CreateStudyResponse created;
  CHECK(call([&](grpc::ClientContext* context) {
          return running.studies->CreateStudy(context, create, &created);
        }) == grpc::StatusCode::UNAVAILABLE);
  CHECK(CallByName(running.channel, kHealthCheck, "").bytes == kNotServing);
  // Reads too: the study is in memory, and nobody may hear of what is not stored.
  const std::string admin = "Bearer " + running.secrets.tokens.at("admin");
  for (const char* rpc : {"Studies/ListStudies", "Studies/GetStudy", "Studies/ListTrials", "Studies/GetTrial",
                          "Studies/ListWorkers", "Studies/ListEvents", "Studies/ListPoints",
                          "Studies/SetStudyState", "Coordinator/Lease", "Coordinator/Progress"}) {
    INFO(rpc);
    CHECK(CallByName(running.channel, std::string("/rung.v1.") + rpc, admin).status.error_code() ==
          grpc::StatusCode::UNAVAILABLE);
  }
}

TEST_CASE("a study is read before the core has to do with it", "[grpc]") {
  Running running;
  std::promise<void> go;
  running.loop->Post([gate = go.get_future().share()](const Core&, StudyStore&) { gate.wait(); });
  v1::CreateStudyRequest create;
  create.set_canonical_json("{}");
  v1::CreateStudyResponse created;
  grpc::ClientContext context;
  running.Allow(context, "admin");
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));  // else it hangs
  CHECK(running.studies->CreateStudy(&context, create, &created).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  go.set_value();
}

TEST_CASE("metrics want a viewer's token, health does not, and both know of a failure", "[grpc]") {
  LossyDisk disk(1);
  Running running("", "auto");
  const std::string address = running.server->metrics();
  const auto get = [&](const std::string& path, const std::string& role) {
    std::string request = "GET " + path + " HTTP/1.1\r\n";
    if (!role.empty())
      request += "Authorization: Bearer " +
                 (role == "wrong" ? std::string(64, '0') : running.secrets.tokens.at(role)) + "\r\n";
    return Ask(address, request + "\r\n");
  };
  CHECK(get("/healthz", "").rfind("HTTP/1.1 200 ", 0) == 0);
  CHECK(get("/metrics", "").rfind("HTTP/1.1 401 ", 0) == 0);
  CHECK(get("/metrics", "wrong").rfind("HTTP/1.1 401 ", 0) == 0);
  CHECK(get("/metrics", "worker").rfind("HTTP/1.1 403 ", 0) == 0);
  CHECK(get("/tokens/admin", "admin").rfind("HTTP/1.1 404 ", 0) == 0);
  for (const char* role : {"viewer", "admin"}) {
    const std::string answer = get("/metrics", role);
    CHECK(answer.rfind("HTTP/1.1 200 ", 0) == 0);
    CHECK(answer.find("\nrung_workers{state=\"idle\"} 0\n") != std::string::npos);
    CHECK(answer.find("\nprocess_resident_memory_bytes 0\n") == std::string::npos);
    for (const auto& [name, token] : running.secrets.tokens) CHECK(answer.find(token) == std::string::npos);
  }
  disk.CutAfter(1);
  v1::CreateStudyRequest create;
  create.set_canonical_json(kStudy);
  v1::CreateStudyResponse created;
  grpc::ClientContext context;
  running.Allow(context, "admin");
  REQUIRE_FALSE(running.studies->CreateStudy(&context, create, &created).ok());
  CHECK(get("/healthz", "").rfind("HTTP/1.1 503 ", 0) == 0);
  CHECK(get("/metrics", "viewer").rfind("HTTP/1.1 503 ", 0) == 0);
}

// Real calls by name, one after the other: a handler that asks for the wrong RPC's roles names itself in the
// refusal.
TEST_CASE("every RPC of every service is refused or let in by role, on the socket and over TLS", "[grpc]") {
  Running running("127.0.0.1:0");
  const std::map<std::string, std::shared_ptr<grpc::Channel>> transports = {{"unix", running.channel},
                                                                            {"tls", running.over_tls}};
  std::map<std::string, std::string> credentials = {{"none", ""},
                                                    {"wrong", "Bearer " + std::string(64, '0')}};
  for (const auto& [role, token] : running.secrets.tokens) credentials[role] = "Bearer " + token;
  const auto* file = v1::HelloRequest::descriptor()->file();
  int calls = 0;
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      const auto* method = file->service(s)->method(m);
      const std::string rpc = method->service()->name() + "/" + method->name();
      const std::vector<std::string> roles = Access::RolesOf(rpc);
      for (const auto& [transport, channel] : transports) {
        for (const auto& [role, authorization] : credentials) {
          const RawAnswer answer =
              CallByName(channel, "/" + method->service()->full_name() + "/" + method->name(), authorization);
          const ErrorDetail detail = GetErrorDetail(FromWire(answer.status)).value_or(ErrorDetail{});
          const grpc::StatusCode code = answer.status.error_code();
          CAPTURE(rpc, transport, role, code, detail.code, detail.where);
          ++calls;
          if (role == "none" || role == "wrong") {
            CHECK(code == grpc::StatusCode::UNAUTHENTICATED);
            CHECK(detail.code == "E0672");
            CHECK(detail.where == rpc);
          } else if (std::find(roles.begin(), roles.end(), role) == roles.end()) {
            CHECK(code == grpc::StatusCode::PERMISSION_DENIED);
            CHECK(detail.code == "E0673");
            CHECK(detail.where == rpc);
          } else {
            CHECK(code != grpc::StatusCode::UNAUTHENTICATED);
            CHECK(code != grpc::StatusCode::PERMISSION_DENIED);
            CHECK(code != grpc::StatusCode::UNIMPLEMENTED);
            CHECK(code != grpc::StatusCode::UNAVAILABLE);
          }
        }
      }
    }
  }
  CHECK(calls >= 20 * 2 * 5);
  // Beside them there is grpc.health, which says one word to everybody, and nothing else.
  for (const auto& [transport, channel] : transports) {
    INFO(transport);
    CHECK(CallByName(channel, kHealthCheck, "").bytes == kServing);
    for (const char* unknown : {"/rung.v1.Studies/Unheard", "/rung.v1.Unheard/ListStudies",
                                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                "/grpc.channelz.v1.Channelz/GetServers"}) {
      INFO(unknown);
      CHECK(CallByName(channel, unknown, credentials["admin"]).status.error_code() ==
            grpc::StatusCode::UNIMPLEMENTED);
    }
  }
  // The port speaks TLS only.
  const auto plain = grpc::CreateChannel("localhost:" + std::to_string(running.server->tcp_port()),
                                         grpc::InsecureChannelCredentials());
  CHECK(CallByName(plain, kHealthCheck, "").status.error_code() == grpc::StatusCode::UNAVAILABLE);
}

}  // namespace rung
