// A TCP link that breaks: of the pieces that pass, some never arrive, some arrive in half or twice (which
// TLS takes for damage), and the connection ends with them. Whoever comes again is let through, to the next
// break.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "search/rng.h"

namespace rung {

class BadLink {
 public:
  // To a port of 127.0.0.1. `breaks`: the part of the pieces that break it.
  BadLink(uint16_t port, double breaks, uint64_t seed)
      : target_(Local(port)), breaks_(breaks), rng_(seed, 0x6c696e6b) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here = Local(0);
    socklen_t size = sizeof(here);
    auto* address = reinterpret_cast<sockaddr*>(&here);
    RUNG_CHECK(bind(listener_, address, size) == 0 && listen(listener_, 16) == 0, "a free port");
    RUNG_CHECK(getsockname(listener_, address, &size) == 0, "its number");
    port_ = ntohs(here.sin_port);
    thread_ = std::thread([this] { Accept(); });
  }
  ~BadLink() {
    ended_ = true;
    thread_.join();
    close(listener_);
  }
  BadLink(const BadLink&) = delete;
  BadLink& operator=(const BadLink&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int64_t pieces() const { return pieces_; }
  int64_t broken() const { return broken_; }

 private:
  static constexpr int kLookMs = 50;
  enum class Fate { kPasses, kLost, kHalf, kTwice };

  static sockaddr_in Local(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void Accept() {
    std::vector<std::thread> pumps;
    while (!ended_) {
      pollfd look = {listener_, POLLIN, 0};
      if (poll(&look, 1, kLookMs) <= 0) continue;
      const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      pumps.emplace_back([this, near, far] {
        const auto* target = reinterpret_cast<const sockaddr*>(&target_);
        if (near >= 0 && connect(far, target, sizeof(target_)) == 0) Pump(near, far);
        close(near);
        close(far);
      });
    }
    for (std::thread& pump : pumps) pump.join();
  }

  Fate Draw() {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (rng_.Uniform() >= breaks_) return Fate::kPasses;
    const int64_t dice = rng_.Below(3);
    return dice == 0 ? Fate::kLost : dice == 1 ? Fate::kHalf : Fate::kTwice;
  }

  // Both ways, until one end closes or the link breaks.
  void Pump(int near, int far) {
    std::vector<char> bytes(1 << 16);
    while (!ended_) {
      pollfd look[] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
      if (poll(look, 2, kLookMs) <= 0) continue;
      for (const bool outward : {true, false}) {
        if (look[outward ? 0 : 1].revents == 0) continue;
        const int from = outward ? near : far, to = outward ? far : near;
        const ssize_t count = read(from, bytes.data(), bytes.size());
        if (count <= 0) return;
        ++pieces_;
        const Fate fate = Draw();
        if (fate != Fate::kPasses) ++broken_;
        if (fate == Fate::kLost) return;
        const auto size = static_cast<size_t>(fate == Fate::kHalf ? count / 2 : count);
        for (int copies = fate == Fate::kTwice ? 2 : 1; copies > 0; --copies) {
          if (send(to, bytes.data(), size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) return;
        }
        if (fate != Fate::kPasses) return;
      }
    }
  }

  const sockaddr_in target_;
  const double breaks_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::mutex mutex_;
  Rng rng_;  // guarded by mutex_
  std::atomic<bool> ended_{false};
  std::atomic<int64_t> pieces_{0}, broken_{0};
  std::thread thread_;
};

}  // namespace rung
