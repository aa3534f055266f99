// A coordinator and a worker as on two hosts: the worker's view of the state directory names another host, so
// that it must go over TCP and TLS, not over the Unix socket.
#pragma once

#include <signal.h>

#include <filesystem>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "proto/endpoint.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {

constexpr double kAttachSeconds = 20;

// rungd on a TCP port of its own, with `address` in endpoint.json and in the certificate.
class Coordinator {
 public:
  Coordinator(const Site& site, const std::string& address, bool exit_when_done = false)
      : dir_{site.state_dir()} {
    Process::Options options;
    options.argv = {std::string(RUNG_BIN_DIR) + "/rungd",
                    "--dir",
                    dir_.root,
                    "--listen",
                    "127.0.0.1:0",
                    "--advertise",
                    address,
                    "--lease-ttl",
                    "2s"};
    if (exit_when_done) options.argv.push_back("--exit-when-done");  // then it tells workers at once
    options.directory = site.root();
    options.output_path = site.root() + "/output";
    process_ = std::make_unique<Process>(options);
    REQUIRE(WaitFor(kAttachSeconds, [&] {
      const auto endpoint = ReadEndpoint(dir_);
      return endpoint.ok() && endpoint->pid == process_->pid();
    }));
  }
  Endpoint endpoint() const { return *ReadEndpoint(dir_); }
  void KillHard() {
    process_->Kill(SIGKILL);
    REQUIRE(process_->Wait(kAttachSeconds).has_value());
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
    options.argv = {std::string(RUNG_BIN_DIR) + "/rung-worker",
                    "--dir",
                    dir_.root,
                    "--slot",
                    "far",
                    "--exit-when-done",
                    "--endpoint-wait",
                    endpoint_wait};
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

}  // namespace rung
