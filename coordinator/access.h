// Who may call what: every RPC x role, denied by default; and whose token is whose. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

namespace rung {

class Access {
 public:
  // tokens: role (admin | worker | viewer) -> token.
  Access(const std::map<std::string, std::string>& tokens, Clock& clock);

  // `authorization` is the call's metadata ("Bearer TOKEN"), `rpc` like "Coordinator/Lease".
  // Errors: Unauthenticated (E0672: no token or an unknown one), PermissionDenied (E0673).
  absl::Status Check(const std::string& authorization, const std::string& rpc) const;

  // From now on `token` is the role's; the one before it is taken for `overlap` more, older ones no longer.
  void Replace(const std::string& role, const std::string& token, absl::Duration overlap);

  // Roles that may call it; empty for what is not in the table.
  static std::vector<std::string> RolesOf(const std::string& rpc);

 private:
  struct Token {
    std::string role, text;
    absl::Duration until;  // steady
  };

  Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<Token> tokens_;  // guarded by mutex_
};

}  // namespace rung
