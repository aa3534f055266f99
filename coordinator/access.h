// Who may call what: every RPC x role, denied by default. Thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace rung {

class Access {
 public:
  // tokens: role (admin | worker | viewer) -> token.
  explicit Access(std::map<std::string, std::string> tokens) : tokens_(std::move(tokens)) {}

  // `authorization` is the call's metadata ("Bearer TOKEN"), `rpc` like "Coordinator/Lease".
  // Errors: Unauthenticated (E0672: no token or an unknown one), PermissionDenied (E0673).
  absl::Status Check(const std::string& authorization, const std::string& rpc) const;

  // Roles that may call it; empty for what is not in the table.
  static std::vector<std::string> RolesOf(const std::string& rpc);

 private:
  const std::map<std::string, std::string> tokens_;
};

}  // namespace rung
