#include "coordinator/access.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr char kScheme[] = "Bearer ";

bool Equal(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

Access::Access(const std::map<std::string, std::string>& tokens, Clock& clock) : clock_(clock) {
  for (const auto& [role, text] : tokens) tokens_.push_back({role, text, absl::InfiniteDuration()});
}

void Access::Replace(const std::string& role, const std::string& token, absl::Duration overlap) {
  const std::lock_guard<std::mutex> guard(mutex_);
  std::erase_if(tokens_,
                [&](const Token& old) { return old.role == role && old.until != absl::InfiniteDuration(); });
  for (Token& old : tokens_) {
    if (old.role == role) old.until = clock_.Steady() + overlap;
  }
  tokens_.push_back({role, token, absl::InfiniteDuration()});
}

std::vector<std::string> Access::RolesOf(const std::string& rpc) {
  static const std::map<std::string, std::vector<std::string>> kTable = {
      {"Coordinator/Hello", {"admin", "worker", "viewer"}},
      {"Coordinator/Register", {"admin", "worker"}},
      {"Coordinator/Lease", {"admin", "worker"}},
      {"Coordinator/Progress", {"admin", "worker"}},
      {"Coordinator/Report", {"admin", "worker"}},
      {"Coordinator/Release", {"admin", "worker"}},
      {"Studies/CreateStudy", {"admin"}},
      {"Studies/SetStudyState", {"admin"}},
      {"Studies/WorkerGone", {"admin"}},
      {"Studies/EndWorker", {"admin"}},
      {"Studies/CreateBackup", {"admin"}},
      {"Studies/RotateToken", {"admin"}},
      {"Studies/Shutdown", {"admin"}},
      {"Studies/ListStudies", {"admin", "viewer"}},
      {"Studies/GetStudy", {"admin", "viewer"}},
      {"Studies/ListTrials", {"admin", "viewer"}},
      {"Studies/GetTrial", {"admin", "viewer"}},
      {"Studies/ListWorkers", {"admin", "viewer"}},
      {"Studies/ListEvents", {"admin", "viewer"}},
      {"Studies/ListPoints", {"admin", "viewer"}},
      {"http/metrics", {"admin", "viewer"}},
  };
  const auto found = kTable.find(rpc);
  return found == kTable.end() ? std::vector<std::string>() : found->second;
}

absl::Status Access::Check(const std::string& authorization, const std::string& rpc) const {
  std::string role;
  if (authorization.rfind(kScheme, 0) == 0) {
    const std::string token = authorization.substr(sizeof(kScheme) - 1);
    const absl::Duration now = clock_.Steady();
    const std::lock_guard<std::mutex> guard(mutex_);
    for (const Token& expected : tokens_) {  // all of them, whichever fits: no early end to time
      if (Equal(token, expected.text) && now < expected.until) role = expected.role;
    }
  }
  if (role.empty()) {
    return MakeError(absl::StatusCode::kUnauthenticated,
                     {"E0672", "the call has no valid token", rpc, "",
                      "Use the tokens of the state directory: give its path with --dir or RUNG_DIR"});
  }
  const std::vector<std::string> roles = RolesOf(rpc);
  if (std::find(roles.begin(), roles.end(), role) != roles.end()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kPermissionDenied,
      {"E0673", absl::StrFormat("a %s token may not call this", role), rpc, role, "Use the admin token"});
}

}  // namespace rung
