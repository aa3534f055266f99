// A coordinator and a worker that meet over TLS, as on two hosts.
#include <algorithm>
#include <filesystem>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <catch2/catch.hpp>

#include "base/file.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.grpc.pb.h"
#include "proto/wire.h"
#include "tests/e2e/other_host.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"
#include "tests/e2e/slow_link.h"

namespace rung {
namespace {

constexpr double kStudy = 60;

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
  const auto running = site.WaitForLine(kAttachSeconds, [](const TraceLine& line) {
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
    const std::optional<int> ended = worker->Wait(kAttachSeconds);
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
