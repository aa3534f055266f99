// The children of `rung run`: one coordinator (unless another lives) and N workers, restarted with back-off
// when they die. Belongs to the main thread, which has SIGCHLD blocked and calls Reap() when it comes.
#pragma once

#include <sys/types.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/client.h"
#include "cli/output.h"
#include "proto/endpoint.h"

namespace rung {

// Five restarts in ten minutes, 0.1 s after the first death, then doubling: 1.6 s after the fifth. Times are
// Clock::Steady.
class RestartBudget {
 public:
  static constexpr int kRestarts = 5;
  static constexpr absl::Duration kWindow = absl::Minutes(10);

  // A death at `now`: when to start again, or nullopt if that was one too many.
  std::optional<absl::Duration> OnDeath(absl::Duration now);

 private:
  std::deque<absl::Duration> deaths_;
};

class Supervisor {
 public:
  Supervisor(StateDir dir, Clock& clock) : dir_(std::move(dir)), clock_(clock) {}
  // Kills what is left (SIGKILL): only after a failure, Stop() comes first otherwise.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Attaches to the living coordinator, else starts `rungd --exit-when-done`; waits for one that ends, unless
  // SIGINT or SIGTERM is pending. Errors: those of rungd's start.
  absl::Status Connect();
  // Starts `count` workers, slots prefix0 .. prefixN-1.
  absl::Status StartWorkers(int count, const std::string& slot_prefix);

  // Takes note of dead children: tells the coordinator at once, plans restarts. Unavailable (E0696, E0697)
  // after too many.
  absl::Status Reap();
  // Starts what is due. Restarts nothing once stopping.
  absl::Status StartDue();
  // What people should know of the coordinator's death, once; else empty.
  std::string TakeNotice() { return std::exchange(notice_, {}); }
  // When something is due next (Clock::Steady), or nullopt.
  std::optional<absl::Duration> NextDue() const;

  // SIGTERM to all workers (they checkpoint and release); no more restarts.
  void DrainWorkers();
  void KillWorkers();
  bool AllWorkersEnded() const;
  // Asks our own coordinator to end, and makes it end within `patience`. Another's is left alone.
  void EndCoordinator(absl::Duration patience);

  // The connection; made again if the coordinator was restarted. Errors: Unavailable while there is none.
  absl::StatusOr<Client*> client();
  void Forget() { client_.reset(); }  // after a call failed with Unavailable
  bool owns_coordinator() const { return coordinator_ != 0; }
  // Whether the coordinator that did not answer is another's, or our own that has ended.
  bool LostCoordinator();
  int workers_alive() const;
  // Its Slurm job ends: all its workers have left, and will not come back here.
  bool LeftForJobEnd() const;
  bool has_workers() const { return !workers_.empty(); }  // of its own, alive or due

 private:
  struct Worker {
    std::string slot;
    std::string gpu;                    // as CUDA_VISIBLE_DEVICES names it; empty: none
    pid_t pid = 0;                      // 0: not running
    std::optional<absl::Duration> due;  // to be started then
    bool finished = false;              // ended by itself: no work left, drained, or `left`
    bool left = false;                  // because its Slurm job ends
    RestartBudget budget;
  };
  absl::Status StartWorker(Worker& worker);
  absl::Status OnWorkerEnd(Worker& worker, int wait_status);
  absl::Status OnCoordinatorEnd(int wait_status);

  const StateDir dir_;
  Clock& clock_;
  std::optional<Client> client_;
  pid_t coordinator_ = 0;
  std::optional<absl::Duration> coordinator_due_;
  RestartBudget coordinator_budget_;
  std::vector<Worker> workers_;
  bool stopping_ = false;
  std::string notice_;
};

// What CUDA_VISIBLE_DEVICES names; as for CUDA, the first entry that names no GPU hides the rest: "-1" hides
// all.
std::vector<std::string> GpusOf(const std::string& visible);
// GPUs that this process may use: CUDA_VISIBLE_DEVICES, else /dev/nvidia0, 1, ...
std::vector<std::string> VisibleGpus();
// Default of --workers: visible GPUs, else the cores this process may use.
int DefaultWorkers();

}  // namespace rung
