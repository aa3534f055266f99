// The gRPC face of the coordinator: Coordinator and Studies over the Unix socket, and over TLS where asked.
// Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core_loop.h"
#include "coordinator/tls.h"

namespace rung {

struct ServerOptions {
  std::string unix_path;
  std::string listen;  // HOST:PORT for TLS, or empty
  TlsFiles tls;
  std::string metrics;                        // where /metrics and /healthz are served on loopback, or empty
  std::string database;                       // whose size they tell
  std::map<std::string, std::string> tokens;  // role -> token
  int64_t term = 0;
  std::string build;
  absl::Duration lease_ttl;
  bool offline = false;
  StateDir dir;
  std::function<void(bool drain)> on_shutdown;  // the Shutdown RPC; called on a gRPC thread
};

class Server {
 public:
  virtual ~Server() = default;
  virtual int tcp_port() const = 0;         // 0: none
  virtual std::string metrics() const = 0;  // HOST:PORT of /metrics and /healthz, or empty
  virtual void StopServing() = 0;           // health says NOT_SERVING
  virtual void Shutdown(absl::Duration patience) = 0;

  // Binds, starts the loop and serves. The loop is to be stopped after Shutdown and before the server goes:
  // its thread pushes to the server's streams. Errors: those of HttpListener, Internal (E0630: the port is in
  // use, E0631: the socket cannot be bound).
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, CoreLoop& loop);
};

}  // namespace rung
