#include "worker/allocation.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "tests/worker/scratch.h"

namespace rung {
namespace {

using Gpus = std::vector<std::string>;

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

TEST_CASE("a worker knows its GPUs by the node's numbers, whether devices are constrained or not") {
  const Scratch scratch;
  // Not constrained: every device could be opened, or there are none (fake ones).
  CHECK(*AllocatedGpus(1, {"2", "2,3", scratch.root()}) == Gpus{"2"});
  CHECK(*AllocatedGpus(2, {"2,3", "2,3", scratch.root()}) == Gpus{"2", "3"});
  std::filesystem::create_symlink("/dev/null", scratch.path("nvidia2"));
  std::filesystem::create_symlink("/dev/null", scratch.path("nvidia3"));
  CHECK(*AllocatedGpus(1, {"3", "2,3", scratch.root()}) == Gpus{"3"});
  // Constrained: this task can open one alone, which CUDA counts as 0.
  std::filesystem::remove(scratch.path("nvidia2"));
  CHECK(*AllocatedGpus(1, {"0", "2,3", scratch.root()}) == Gpus{"3"});
  CHECK(*AllocatedGpus(1, {"0", "0", scratch.root()}) == Gpus{"3"});  // as Slurm tells every task of a step
  // Unique names, and workers outside of a step.
  CHECK(*AllocatedGpus(1, {"GPU-8a1f", "0,1", "/nowhere"}) == Gpus{"GPU-8a1f"});
  CHECK(*AllocatedGpus(1, {"1", "", "/nowhere"}) == Gpus{"1"});
  CHECK(AllocatedGpus(0, {"", "0,1", "/nowhere"})->empty());
}

TEST_CASE("in the step of a batch script the job's GPUs are the worker's") {
  const auto of = [](std::map<std::string, std::string> variables) {
    return ViewOfSlurm([variables](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? "" : found->second;
    });
  };
  // A task of an array, constrained: the device that CUDA counts as 0 is the node's third.
  AllocationView view = of({{"CUDA_VISIBLE_DEVICES", "0"}, {"SLURM_JOB_GPUS", "2"}});
  CHECK(view.device_directory == "/dev");
  const Scratch scratch;
  view.device_directory = scratch.root();
  std::filesystem::create_symlink("/dev/null", scratch.path("nvidia2"));
  CHECK(*AllocatedGpus(1, view) == Gpus{"2"});
  // What the batch script's node has is nothing to a step of srun.
  view = of({{"CUDA_VISIBLE_DEVICES", "1"}, {"SLURM_STEP_GPUS", "1"}, {"SLURM_JOB_GPUS", "0"}});
  CHECK(*AllocatedGpus(1, view) == Gpus{"1"});
  view = of({{"CUDA_VISIBLE_DEVICES", "1"}, {"SLURM_JOB_GPUS", "0"}});
  CHECK(CodeOf(AllocatedGpus(1, view).status()) == "E0703");
}

TEST_CASE("more, fewer or other GPUs than allocated are refused") {
  for (const AllocationView& view :
       {AllocationView{"0,1", "0,1", "/nowhere"}, {"", "0,1", "/nowhere"}, {"3", "0,1", "/nowhere"}}) {
    const absl::Status status = AllocatedGpus(1, view).status();
    INFO(view.visible);
    CHECK(CodeOf(status) == "E0703");
    CHECK(GetErrorDetail(status)->value == view.visible);
  }
  CHECK(CodeOf(AllocatedGpus(0, {"0", "0", "/nowhere"}).status()) == "E0703");
}

TEST_CASE("a GPU has as many workers as may share it, and is free when they are gone") {
  const std::string node = absl::StrFormat("test-%d", getpid());
  auto first = GpuClaim::Take(node, {"0", "1"}, 1);
  REQUIRE(first.ok());
  CHECK(CodeOf(GpuClaim::Take(node, {"1"}, 1).status()) == "E0704");
  CHECK(GpuClaim::Take(node, {"2"}, 1).ok());
  CHECK(GpuClaim::Take(node + "-other", {"1"}, 1).ok());
  { const GpuClaim ended = *std::move(first); }
  auto one = GpuClaim::Take(node, {"1"}, 2);
  const auto two = GpuClaim::Take(node, {"1"}, 2);
  CHECK(one.ok());
  CHECK(two.ok());
  CHECK(CodeOf(GpuClaim::Take(node, {"1"}, 2).status()) == "E0704");
  // A claim ends with its process, whatever ends that.
  const pid_t child = fork();
  if (child == 0) {
    const auto claim = GpuClaim::Take(node, {"7"}, 1);
    _exit(claim.ok() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(GpuClaim::Take(node, {"7"}, 1).ok());
}

TEST_CASE("what another user holds of our names keeps no worker from its GPU") {
  if (geteuid() != 0) {
    WARN("needs root");
    return;
  }
  const std::string node = absl::StrFormat("test-foreign-%d", getpid());
  int ready[2], over[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(over) == 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setuid(65534) != 0) _exit(1);
    const int taken = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "rung-gpu-0-0-3-" + node + "-0";
    name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    const bool bound = bind(taken, reinterpret_cast<const sockaddr*>(&address), size) == 0;
    char byte = bound ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    close(over[1]);
    _exit(read(over[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 'n';
  REQUIRE(read(ready[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  {
    const auto claim = GpuClaim::Take(node, {"3"}, 1);
    CHECK(claim.ok());
    CHECK(CodeOf(GpuClaim::Take(node, {"3"}, 1).status()) == "E0704");  // ours still counts
  }
  close(over[0]);
  close(over[1]);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
}

}  // namespace
}  // namespace rung
