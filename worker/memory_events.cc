#include "worker/memory_events.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"

namespace rung {
namespace {

constexpr int64_t kMaxBytes = 64 * 1024;

// The number behind `key` in "key value" lines; -1 if there is none.
int64_t Find(const std::string& text, const std::string& key) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const std::pair<std::string, std::string> fields = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    int64_t value = 0;
    if (fields.first == key && absl::SimpleAtoi(fields.second, &value)) return value;
  }
  return -1;
}

// Inside a container the path that /proc names may lie above what is mounted: then the mount's own root
// counts.
std::string FirstReadable(const std::string& mount, const std::string& group, const std::string& file) {
  const std::string own = mount + group + "/" + file;
  if (access(own.c_str(), R_OK) == 0) return own;
  const std::string top = mount + "/" + file;
  return access(top.c_str(), R_OK) == 0 ? top : "";
}

}  // namespace

MemoryEvents::MemoryEvents(std::string proc, std::string cgroup)
    : proc_(std::move(proc)), cgroup_(std::move(cgroup)) {}

std::string MemoryEvents::CounterFile(pid_t pid) const {
  const absl::StatusOr<std::string> groups =
      ReadFile(proc_ + "/" + std::to_string(pid) + "/cgroup", kMaxBytes);
  if (!groups.ok()) return "";
  std::string unified;
  const std::vector<std::string> lines = absl::StrSplit(*groups, '\n');
  for (const std::string& line : lines) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    for (const std::string& controller : controllers) {
      if (controller == "memory") return FirstReadable(cgroup_ + "/memory", fields[2], "memory.oom_control");
    }
    if (fields[0] == "0") unified = fields[2];
  }
  return FirstReadable(cgroup_, unified, "memory.events");
}

int64_t MemoryEvents::OomKills(const std::string& counter_file) {
  if (counter_file.empty()) return 0;
  const absl::StatusOr<std::string> text = ReadFile(counter_file, kMaxBytes);
  if (!text.ok()) return 0;
  if (const int64_t kills = Find(*text, "oom_kill"); kills >= 0) return kills;
  const std::string failures =
      std::string(absl::StripSuffix(counter_file, "memory.oom_control")) + "memory.failcnt";
  const absl::StatusOr<std::string> count = ReadFile(failures, kMaxBytes);
  int64_t value = 0;
  return count.ok() && absl::SimpleAtoi(*count, &value) ? value : 0;
}

}  // namespace rung
