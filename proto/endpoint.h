// Where a state directory's coordinator is and how to reach it: endpoint.json, socket path, tokens, TLS; and
// the layout of the state directory (docs/design.md, "State directory"). Used by rungd, rung-worker and rung.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace rung {

// Paths inside a state directory. All directories 0700, files 0600.
struct StateDir {
  std::string root;  // absolute

  std::string endpoint() const { return root + "/endpoint.json"; }
  std::string status() const { return root + "/status.json"; }
  std::string nonce() const { return root + "/nonce"; }
  std::string lock_directory() const { return root + "/lock"; }
  std::string database() const { return root + "/rung.db"; }
  std::string logs() const { return root + "/logs"; }
  std::string tls() const { return root + "/tls"; }
  std::string token(const std::string& role) const {
    return root + "/tokens/" + role;
  }  // admin | worker | viewer
  std::string worker(const std::string& name) const { return root + "/workers/" + name; }
  std::string study(int64_t id) const { return root + "/studies/" + std::to_string(id); }
  // studies/ID/checkpoints/TRIAL/RUNG/REPLICATE/ATTEMPT
  std::string checkpoints(int64_t study, int64_t trial, int rung, int replicate, int64_t attempt) const;
  // studies/ID/outputs/TRIAL/RUNG/REPLICATE/ATTEMPT (evaluate: .../evaluate/ATTEMPT)
  std::string outputs(int64_t study, int64_t trial, int rung, int replicate, bool evaluate,
                      int64_t attempt) const;
  // studies/ID/logs/TRIAL-RUNG-REPLICATE-ATTEMPT.log ("e" before the attempt for kind evaluate)
  std::string attempt_log(int64_t study, int64_t trial, int rung, int replicate, bool evaluate,
                          int64_t attempt) const;
};

// --dir, else $RUNG_DIR, else the nearest .rung/ at or above the working directory, else nullopt (the caller
// makes .rung/ beside the study file).
std::optional<StateDir> FindStateDir(const std::string& dir_flag);

// The Unix socket of a state directory: short whatever the length of its path. Makes $XDG_RUNTIME_DIR/rung or
// /tmp/rung-UID (0700) and checks owner, mode and that it is no symbolic link. Errors: PermissionDenied
// (E0670), Internal.
absl::StatusOr<std::string> SocketPath(const StateDir& dir);

struct Endpoint {
  int protocol = 1;
  int64_t term = 0;
  int64_t pid = 0;
  int64_t process_start_time = 0;
  std::string boot_id;
  std::string host;
  std::string unix_path;
  std::string tcp;      // HOST:PORT, or empty
  std::string metrics;  // HOST:PORT on that host's loopback, or empty
  std::string ca_sha256;
  std::string started_at;
};
absl::Status WriteEndpoint(const StateDir& dir, const Endpoint& endpoint);
// Errors: NotFound (E0611: no coordinator; E0612: not an endpoint file).
absl::StatusOr<Endpoint> ReadEndpoint(const StateDir& dir);

// Same host (boot id) and no such process any more.
bool ProvedDead(const Endpoint& endpoint);

// A channel with keep-alive 20 s and back-off 0.1-3 s: the Unix socket on the same host, else TLS with the
// directory's CA. Errors: NotFound (E0611), FailedPrecondition (E0613: other host and no tcp endpoint;
// E0678: other host and no certificate).
absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const StateDir& dir, const Endpoint& endpoint);

// Adds "authorization: Bearer TOKEN" of the role's token file. Errors: NotFound, PermissionDenied (E0671:
// owner or mode).
absl::StatusOr<std::string> ReadToken(const StateDir& dir, const std::string& role);
void Authorize(grpc::ClientContext& context, const std::string& token);

}  // namespace rung
