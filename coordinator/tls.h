// The directory's own certificate authority (P-256) and the server's certificate, made when they are needed.
// Thread-safe: functions only.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "proto/endpoint.h"

namespace rung {

struct TlsFiles {
  std::string ca_pem;
  std::string certificate_pem;
  std::string key_pem;
  std::string ca_sha256;  // of the file tls/ca.pem
};

// Keeps tls/ca.{pem,key} if they are there; the server's certificate is made anew for `names` (host names and
// addresses). Errors: Internal (E0675), those of base/file.h.
absl::StatusOr<TlsFiles> PrepareTls(const StateDir& dir, const std::vector<std::string>& names, Clock& clock);

// Every name and address this host is known by, without duplicates; the fully qualified name first.
std::vector<std::string> HostNames();

}  // namespace rung
