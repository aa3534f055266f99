// A TCP link on which every piece is `delay` late, each way: a network between two hosts.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"

namespace rung {

class SlowLink {
 public:
  // To a port of 127.0.0.1.
  SlowLink(uint16_t port, absl::Duration delay) : target_(Local(port)), delay_(delay) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here = Local(0);
    socklen_t size = sizeof(here);
    auto* address = reinterpret_cast<sockaddr*>(&here);
    RUNG_CHECK(bind(listener_, address, size) == 0 && listen(listener_, 16) == 0, "a free port");
    RUNG_CHECK(getsockname(listener_, address, &size) == 0, "its number");
    port_ = ntohs(here.sin_port);
    threads_.emplace_back([this] { Accept(); });
  }
  ~SlowLink() {
    ended_ = true;
    while (!threads_.empty()) {
      std::thread last = std::move(threads_.back());
      threads_.pop_back();
      last.join();
    }
    close(listener_);
  }
  SlowLink(const SlowLink&) = delete;
  SlowLink& operator=(const SlowLink&) = delete;
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  static constexpr int kLookMs = 50;

  static sockaddr_in Local(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  bool Readable(int descriptor) const {
    pollfd look = {descriptor, POLLIN, 0};
    return poll(&look, 1, kLookMs) > 0;
  }
  void Accept() {
    std::vector<std::thread> pumps;
    while (!ended_) {
      if (!Readable(listener_)) continue;
      const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (near < 0 || connect(far, reinterpret_cast<const sockaddr*>(&target_), sizeof(target_)) != 0) {
        close(near);
        close(far);
        continue;
      }
      pumps.emplace_back([this, near, far] {
        std::thread back([this, near, far] { Pump(far, near); });
        Pump(near, far);
        back.join();
        close(near);
        close(far);
      });
    }
    for (std::thread& pump : pumps) pump.join();
  }
  void Pump(int from, int to) const {
    std::vector<char> bytes(1 << 16);
    while (!ended_) {
      if (!Readable(from)) continue;
      const ssize_t count = read(from, bytes.data(), bytes.size());
      if (count <= 0) break;
      absl::SleepFor(delay_);
      if (send(to, bytes.data(), static_cast<size_t>(count), MSG_NOSIGNAL) != count) break;
    }
    shutdown(to, SHUT_WR);
  }

  const sockaddr_in target_;
  const absl::Duration delay_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> ended_{false};
  std::vector<std::thread> threads_;
};

}  // namespace rung
