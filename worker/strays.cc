#include "worker/strays.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/file.h"

namespace rung {
namespace {

constexpr int kRounds = 100;  // a killed process hands its own children on to us
constexpr int kRoundMs = 10;
constexpr int64_t kMaxStatBytes = 4096;

// Children in process groups other than ours.
std::vector<pid_t> StrayChildren() {
  std::vector<pid_t> children;
  std::error_code error;
  const std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator entry("/proc", error); !error && entry != end;
       entry.increment(error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    const absl::StatusOr<std::string> stat = ReadFile(entry->path().string() + "/stat", kMaxStatBytes);
    if (!stat.ok()) continue;
    // PID (NAME) STATE PARENT GROUP ...; the name may hold anything.
    const std::vector<std::string> fields = absl::StrSplit(stat->substr(stat->rfind(')') + 1), ' ');
    pid_t parent = 0;
    pid_t group = 0;
    const bool read =
        fields.size() > 3 && absl::SimpleAtoi(fields[2], &parent) && absl::SimpleAtoi(fields[3], &group);
    if (read && parent == getpid() && group != getpgrp()) children.push_back(pid);
  }
  return children;
}

}  // namespace

void AdoptStrays() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void EndStrays() {
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<pid_t> children = StrayChildren();
    if (children.empty()) return;
    for (const pid_t child : children) kill(child, SIGKILL);
    poll(nullptr, 0, kRoundMs);
    for (const pid_t child : children) waitpid(child, nullptr, WNOHANG);
  }
}

}  // namespace rung
