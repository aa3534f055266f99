// A coordinator and a worker that meet over TLS, as on two hosts: the worker's view of the state directory
// names another host, so that it must not use the Unix socket.
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <catch2/catch.hpp>

#include "base/check.h"
#include "base/file.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "proto/wire.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"
#include "tests/e2e/slow_link.h"

namespace rung {
namespace {

constexpr double kStart = 20;
constexpr double kStudy = 60;

std::string Program(const std::string& name) {
  return std::string(RUNG_BIN_DIR) + "/" + name;
}

// rungd on a TCP port of its own, with `address` in endpoint.json and in the certificate.
class Coordinator {
 public:
  Coordinator(const Site& site, const std::string& address, bool exit_when_done = false)
      : dir_{site.state_dir()} {
    Process::Options options;
    options.argv = {Program("rungd"), "--dir", dir_.root,     "--listen", "127.0.0.1:0",
                    "--advertise",    address, "--lease-ttl", "2s"};
    if (exit_when_done) options.argv.push_back("--exit-when-done");  // then it tells workers at once
    options.directory = site.root();
    options.output_path = site.root() + "/output";
    process_ = std::make_unique<Process>(options);
    REQUIRE(WaitFor(kStart, [&] {
      const auto endpoint = ReadEndpoint(dir_);
      return endpoint.ok() && endpoint->pid == process_->pid();
    }));
  }
  Endpoint endpoint() const { return *ReadEndpoint(dir_); }
  void KillHard() {
    process_->Kill(SIGKILL);
    REQUIRE(process_->Wait(kStart).has_value());
  }

 private:
  const StateDir dir_;
  std::unique_ptr<Process> process_;
};

// The state directory as another host sees it.
class OtherHost {
 public:
  explicit OtherHost(const Site& site) : from_{site.state_dir()}, dir_{site.root() + "/other-host"} {
    std::filesystem::create_directories(dir_.root);
    std::filesystem::copy(from_.nonce(), dir_.nonce());
    for (const char* directory : {"tokens", "tls"}) {
      std::filesystem::copy(from_.root + "/" + directory, dir_.root + "/" + directory);
    }
  }
  // Takes over what endpoint.json says now, but for the host.
  void Look(const std::string& ca_sha256 = "", const std::string& tcp = "") {
    Endpoint endpoint = *ReadEndpoint(from_);
    if (!tcp.empty()) endpoint.tcp = tcp;
    endpoint.host = "another-host";
    endpoint.boot_id = "another-boot";
    endpoint.unix_path = "/nowhere.sock";
    if (!ca_sha256.empty()) endpoint.ca_sha256 = ca_sha256;
    REQUIRE(WriteEndpoint(dir_, endpoint).ok());
  }
  std::unique_ptr<Process> Worker(const std::string& endpoint_wait) const {
    Process::Options options;
    options.argv = {Program("rung-worker"), "--dir",           dir_.root,    "--slot", "far",
                    "--exit-when-done",     "--endpoint-wait", endpoint_wait};
    options.directory = dir_.root;
    options.output_path = dir_.root + "/output";
    return std::make_unique<Process>(options);
  }
  std::string Output() const { return ReadFile(dir_.root + "/output").value_or(""); }
  const StateDir& dir() const { return dir_; }

 private:
  const StateDir from_;
  const StateDir dir_;
};

TEST_CASE("a worker on another host trains over TLS, by address and by name") {
  for (const char* address : {"127.0.0.1", "localhost"}) {
    const Site site(0.001);
    const Coordinator coordinator(site, address, /*exit_when_done=*/true);
    site.Ask({"study", "create", "study.json"});
    OtherHost host(site);
    host.Look();
    const auto worker = host.Worker("10s");
    const std::optional<int> code = worker->Wait(kStudy);
    INFO(address << "\n" << host.Output());
    CHECK(code == 0);
    CHECK(site.Ask({"study", "show"})["state"] == "done");
    CHECK(site.Results().size() == 9);
  }
}

TEST_CASE("a worker trains over a slow network") {
  const Site site(0.001);
  const Coordinator coordinator(site, "127.0.0.1", /*exit_when_done=*/true);
  site.Ask({"study", "create", "study.json"});
  const std::string tcp = coordinator.endpoint().tcp;
  const auto port = static_cast<uint16_t>(std::stoi(tcp.substr(tcp.rfind(':') + 1)));
  const SlowLink link(port, absl::Milliseconds(80));
  OtherHost host(site);
  host.Look("", link.address());
  const auto worker = host.Worker("20s");
  const std::optional<int> code = worker->Wait(kStudy);
  INFO(host.Output());
  CHECK(code == 0);
  CHECK(site.Results().size() == 9);
}

TEST_CASE("a worker finds a coordinator that was killed again on another port and goes on with its attempt") {
  const Site site(0.1);
  auto first = std::make_unique<Coordinator>(site, "127.0.0.1");
  site.Ask({"study", "create", "study.json"});
  OtherHost host(site);
  host.Look();
  const auto worker = host.Worker("10s");
  const auto running = site.WaitForLine(kStart, [](const TraceLine& line) {
    return line.event == "step" && line.trial == 2 && line.step == 1;
  });
  REQUIRE(running.has_value());
  const std::string old_address = first->endpoint().tcp;
  first->KillHard();
  const Coordinator second(site, "127.0.0.1", /*exit_when_done=*/true);
  REQUIRE(second.endpoint().tcp != old_address);
  host.Look();
  const std::optional<int> code = worker->Wait(kStudy);
  INFO(host.Output());
  CHECK(code == 0);
  CHECK(site.Ask({"study", "show"})["state"] == "done");
  for (const TraceLine& line : site.Trace()) CHECK(line.attempt == 1);
}

TEST_CASE("over TCP nobody gets in with another authority, without a token or in plain text") {
  const Site site(0.001);
  const Coordinator coordinator(site, "127.0.0.1");
  site.Ask({"study", "create", "study.json"});
  const auto refused = [&](OtherHost& host, int code, const std::string& words) {
    const auto worker = host.Worker("1s");
    const std::optional<int> ended = worker->Wait(kStart);
    INFO(host.Output());
    CHECK(ended == code);
    CHECK_THAT(host.Output(), Catch::Contains(words));
    CHECK(site.Ask({"worker", "list"})["workers"].empty());
    std::filesystem::remove_all(host.dir().root);
  };
  SECTION("the authority of another directory") {
    const Site stranger(0.001);
    const Coordinator other(stranger, "127.0.0.1");
    OtherHost host(site);
    std::filesystem::copy(stranger.state_dir() + "/tls/ca.pem", host.dir().tls() + "/ca.pem",
                          std::filesystem::copy_options::overwrite_existing);
    host.Look();
    refused(host, 6, "ca_sha256");
    OtherHost fooled(site);
    std::filesystem::copy(stranger.state_dir() + "/tls/ca.pem", fooled.dir().tls() + "/ca.pem",
                          std::filesystem::copy_options::overwrite_existing);
    fooled.Look(other.endpoint().ca_sha256);
    refused(fooled, 7, "E0711");
  }
  SECTION("a wrong token") {
    OtherHost host(site);
    host.Look();
    REQUIRE(WriteFileAtomic(host.dir().token("worker"), std::string(64, '0')).ok());
    refused(host, 4, "E0672");
  }
  SECTION("a viewer's token") {
    OtherHost host(site);
    host.Look();
    REQUIRE(
        WriteFileAtomic(host.dir().token("worker"), *ReadToken(StateDir{site.state_dir()}, "viewer")).ok());
    refused(host, 4, "E0673");
  }
  SECTION("no token") {
    OtherHost host(site);
    host.Look();
    std::filesystem::remove(host.dir().token("worker"));
    refused(host, 3, "tokens/worker");
  }
  SECTION("a token that others can read") {
    OtherHost host(site);
    host.Look();
    std::filesystem::permissions(host.dir().token("worker"), std::filesystem::perms(0644));
    refused(host, 4, "E0671");
  }
  SECTION("plain text, with the right token") {
    const auto channel = grpc::CreateChannel(coordinator.endpoint().tcp, grpc::InsecureChannelCredentials());
    const auto stub = v1::Coordinator::NewStub(channel);
    grpc::ClientContext context;
    Authorize(context, *ReadToken(StateDir{site.state_dir()}, "worker"));
    v1::HelloRequest request;
    request.set_protocol_min(kProtocolMin);
    request.set_protocol_max(kProtocolMax);
    v1::HelloResponse response;
    CHECK(stub->Hello(&context, request, &response).error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(response.term() == 0);
  }
}

}  // namespace
}  // namespace rung
