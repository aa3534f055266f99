// Does this worker have exactly the GPUs that Slurm gave to its task, and does nobody else use them? Looked
// at once, before it trains: two workers on one GPU, or one on all, is what a wrong srun line gives in
// silence.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

struct AllocationView {
  std::string visible;           // CUDA_VISIBLE_DEVICES
  std::string step_gpus;         // of the whole step on this node, counted as the node does
  std::string device_directory;  // /dev
};

// What Slurm says in these variables ("" where one is not set): SLURM_STEP_GPUS in a step of srun, and
// SLURM_JOB_GPUS, which is all that the step of a batch script has.
AllocationView ViewOfSlurm(const std::function<std::string(const char* name)>& variable);

// The GPUs of this worker by a name that is the same for all workers of the node: the node's numbers where
// they can be told, else what CUDA_VISIBLE_DEVICES says. Errors: FailedPrecondition (E0703: it sees another
// number of GPUs than `expected`, or ones that the step does not have).
absl::StatusOr<std::vector<std::string>> AllocatedGpus(int expected, const AllocationView& view);

// The right to be one of `sharers` workers on each GPU, among the workers of this user on this node; gone
// with the process, whatever ends it, and without a trace (an abstract Unix socket holds it).
class GpuClaim {
 public:
  // Errors: FailedPrecondition (E0704: a GPU has as many workers already).
  static absl::StatusOr<GpuClaim> Take(const std::string& node, const std::vector<std::string>& gpus,
                                       int sharers);
  GpuClaim(GpuClaim&& other) noexcept;
  GpuClaim& operator=(GpuClaim&&) = delete;
  ~GpuClaim();

 private:
  GpuClaim() = default;
  std::vector<int> sockets_;
};

}  // namespace rung
