#include "worker/resume_point.h"

#include <poll.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace rung {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLookAgain = absl::Milliseconds(200);

// Opens every directory on the way: an NFS client asks the server again at an open, and believes its cache at
// a stat.
bool Lists(const fs::path& directory, const std::string& name) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename() == name) return true;
  }
  return false;
}

// rung-trainer renames complete checkpoints (docs/trainer-messages.md); a command lays its own out as it
// likes.
bool HoldsCheckpoint(const fs::path& directory) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const bool checkpoint = it->path().filename().string().rfind("update-", 0) == 0;
    if (checkpoint && Lists(it->path(), "manifest.json")) return true;
  }
  return false;
}

bool Visible(const AttemptPlan& plan) {
  const fs::path directory = plan.attempt.resume_dir();
  return plan.is_command ? Lists(directory.parent_path(), directory.filename()) : HoldsCheckpoint(directory);
}

// A command that keeps no checkpoints.
bool IsEmpty(const fs::path& directory) {
  std::error_code error;
  return fs::directory_iterator(directory, error) == fs::directory_iterator() && !error;
}

}  // namespace

ResumePoint::Sight ResumePoint::Await(const AttemptPlan& plan, AttemptControl& control) {
  const std::string& directory = plan.attempt.resume_dir();
  if (directory.empty()) return Sight::kSeen;
  if (Visible(plan))
    return plan.is_command && !plan.evaluates() && IsEmpty(directory) ? Sight::kGone : Sight::kSeen;
  if (patience_ == absl::ZeroDuration() || unseen_.contains(directory)) return Sight::kGone;
  const absl::Duration until = clock_.Steady() + patience_;
  for (absl::Duration left = patience_; left > absl::ZeroDuration(); left = until - clock_.Steady()) {
    if (control.interrupt() != Interrupt::kNone) return Sight::kInterrupted;
    pollfd event = {control.event(), POLLIN, 0};
    poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(std::min(left, kLookAgain))) + 1);
    control.Acknowledge();
    if (Visible(plan)) return Sight::kSeen;
  }
  unseen_.insert(directory);
  return Sight::kUnseen;
}

}  // namespace rung
