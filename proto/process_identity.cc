#include "proto/process_identity.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace rung {
namespace {

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

// The kernel's boot id and the pid name space: two containers of one boot count processes apart.
std::string BootId() {
  std::string text = ReadWhole("/proc/sys/kernel/random/boot_id");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::array<char, 64> link{};
  if (readlink("/proc/self/ns/pid", link.data(), link.size() - 1) > 0) text += std::string("/") + link.data();
  return text;
}

}  // namespace

ProcessIdentity OfPid(int64_t pid) {
  ProcessIdentity process;
  process.host = HostName();
  process.boot_id = BootId();
  process.pid = pid;
  const std::string stat = ReadWhole("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');  // the name may hold blanks and parentheses
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return process;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');  // from field 3 on
  if (fields.size() < 20) return process;
  const bool ended =
      fields[0] == "Z" || fields[0] == "X";  // a zombie runs no more, only its parent has not looked yet
  if (ended || !absl::SimpleAtoi(fields[19], &process.start_time)) process.start_time = 0;
  return process;
}

ProcessIdentity ThisProcess() {
  return OfPid(getpid());
}

bool ProvedDead(const ProcessIdentity& process) {
  if (process.pid <= 0 || process.start_time == 0 || process.boot_id.empty()) return false;
  const ProcessIdentity now = OfPid(process.pid);
  if (now.host != process.host || now.boot_id != process.boot_id) return false;
  return now.start_time != process.start_time;
}

// The soft limit alone, which a trainer that wants cores may raise; "not dumpable" also ends where another
// program is executed.
void ForbidCoreDumps() {
  rlimit limit{};
  getrlimit(RLIMIT_CORE, &limit);
  limit.rlim_cur = 0;
  setrlimit(RLIMIT_CORE, &limit);
  prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace rung
