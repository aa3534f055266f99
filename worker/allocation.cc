#include "worker/allocation.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr int kAskers = 64;         // that may ask whose a name is, and are never answered
constexpr int kNamesOfAPlace = 16;  // of which other users may hold all but one

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, ',', absl::SkipWhitespace());
}

// Where the site constrains devices by cgroup, a task can open its own alone, and CUDA counts them from 0.
// What Slurm says cannot tell them apart: to each task of a step with --gpus-per-task it says 0 (seen
// in 22.05).
std::vector<std::string> Openable(const std::string& directory) {
  constexpr std::string_view kPrefix = "nvidia";
  std::vector<std::string> openable;
  std::error_code error;
  const std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator entry(directory, error); !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool gpu = name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
                     name.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
    const int file = gpu ? open(entry->path().c_str(), O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) continue;
    close(file);
    openable.push_back(name.substr(kPrefix.size()));
  }
  std::sort(openable.begin(), openable.end());
  return openable;
}

absl::Status Misfit(const std::string& problem, const AllocationView& view) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"E0703", problem, "CUDA_VISIBLE_DEVICES", view.visible,
                    "Start workers with srun --exact --gpus-per-task, or let `rung slurm submit` do it"});
}

enum class Name { kOurs, kTaken, kForeign };  // bound now; by another of our processes; by another user

absl::Status ClaimError(int error, const std::string& name) {
  return MakeError(absl::StatusCode::kInternal,
                   {"E0704", std::string("a GPU cannot be claimed: ") + strerror(error), name, "",
                    "Look at `ulimit -n` on this node"});
}

// An abstract name: no file, and nobody else has it until the socket is closed. Everybody may take one, so
// whoever has it is asked for his user.
absl::StatusOr<Name> BindName(const std::string& name, int* descriptor) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  *descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*descriptor < 0) return ClaimError(errno, name);
  if (bind(*descriptor, generic, size) == 0 && listen(*descriptor, kAskers) == 0) return Name::kOurs;
  const int error = errno;
  close(std::exchange(*descriptor, -1));
  if (error != EADDRINUSE) return ClaimError(error, name);
  const int asker = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (asker < 0) return ClaimError(errno, name);
  ucred owner{};
  socklen_t length = sizeof(owner);
  const bool asked = connect(asker, generic, size) == 0;
  const bool full = !asked && errno == EAGAIN;  // so many asked before: no less taken
  const bool ours = full || (asked && getsockopt(asker, SOL_SOCKET, SO_PEERCRED, &owner, &length) == 0 &&
                             owner.uid == geteuid());
  close(asker);
  return ours ? Name::kTaken : Name::kForeign;
}

// A socket whose name is the claim, -1 if another worker of ours has it. What other users hold is passed
// over.
absl::StatusOr<int> BindPlace(const std::string& place) {
  for (int passed = 0; passed < kNamesOfAPlace; ++passed) {
    int descriptor = -1;
    RUNG_ASSIGN_OR_RETURN(const Name name, BindName(absl::StrFormat("%s-%d", place, passed), &descriptor));
    if (name != Name::kForeign) return descriptor;
  }
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      {"E0704", "another user of this node holds the names by which our workers tell their GPUs apart", place,
       "", "Tell your site: `ss --unix --listening --processes | grep rung-gpu` shows who it is"});
}

}  // namespace

AllocationView ViewOfSlurm(const std::function<std::string(const char* name)>& variable) {
  const std::string step = variable("SLURM_STEP_GPUS");
  return {variable("CUDA_VISIBLE_DEVICES"), step.empty() ? variable("SLURM_JOB_GPUS") : step, "/dev"};
}

absl::StatusOr<std::vector<std::string>> AllocatedGpus(int expected, const AllocationView& view) {
  const std::vector<std::string> visible = Words(view.visible);
  if (visible.size() != static_cast<size_t>(expected)) {
    return Misfit(absl::StrFormat("this worker sees %d GPUs instead of %d", visible.size(), expected), view);
  }
  const bool numbers = std::all_of(visible.begin(), visible.end(), [](const std::string& gpu) {
    return gpu.find_first_not_of("0123456789") == std::string::npos;
  });
  if (!numbers) return visible;  // unique ids
  const std::vector<std::string> openable = Openable(view.device_directory);
  if (openable.size() == visible.size()) return openable;
  const std::vector<std::string> step = Words(view.step_gpus);
  if (step.empty()) return visible;  // not in a step
  for (const std::string& gpu : visible) {
    if (std::find(step.begin(), step.end(), gpu) != step.end()) continue;
    return Misfit(absl::StrFormat("this worker sees GPU %s, its step has %s", gpu, absl::StrJoin(step, ", ")),
                  view);
  }
  return visible;
}

absl::StatusOr<GpuClaim> GpuClaim::Take(const std::string& node, const std::vector<std::string>& gpus,
                                        int sharers) {
  GpuClaim claim;
  for (const std::string& gpu : gpus) {
    int descriptor = -1;
    for (int place = 0; place < sharers && descriptor < 0; ++place) {
      const std::string name = absl::StrFormat("rung-gpu-%d-%d-%s-%s", geteuid(), place, gpu, node);
      RUNG_ASSIGN_OR_RETURN(descriptor, BindPlace(name.substr(0, 96)));
    }
    if (descriptor < 0) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       {"E0704", absl::StrFormat("GPU %s has %d other workers already", gpu, sharers), node,
                        gpu, "Give each worker its own GPU, or start them with --trials-per-gpu"});
    }
    claim.sockets_.push_back(descriptor);
  }
  return claim;
}

GpuClaim::GpuClaim(GpuClaim&& other) noexcept : sockets_(std::exchange(other.sockets_, {})) {}

GpuClaim::~GpuClaim() {
  for (const int descriptor : sockets_) close(descriptor);
}

}  // namespace rung
