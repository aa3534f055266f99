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

// Bound: nobody else has this name until the socket is closed. -1: somebody has it.
int BindName(const std::string& name) {
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);  // a leading 0: abstract, no file
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&address), size) == 0) return descriptor;
  close(descriptor);
  return -1;
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
      descriptor = BindName(name.substr(0, 100));
    }
    if (descriptor < 0) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       {"E0704", absl::StrFormat("GPU %s has %d other workers already", gpu, sharers), "",
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
