// A slot of a machine and the processes that follow each other in it. They do what rung-worker does:
// register, lease, train, checkpoint, report, keep what was not answered in a spool; and they are killed,
// frozen and pre-empted.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "tests/sim/coordinator_node.h"

namespace rung::sim {

class WorkerNode {
 public:
  struct Options {
    int number = 0;
    bool bad = false;                         // whatever trains on its host dies of it
    bool local = false;                       // on the coordinator's host, which can prove its death
    absl::Duration unit = absl::Seconds(60);  // one budget unit of training
    absl::Duration lease_ttl = absl::Seconds(60);
    int checkpoints = 4;  // an attempt
  };

  WorkerNode(World& world, Network& network, CoordinatorNode& coordinator, Ledger& ledger, Options options);

  void StartProcess();
  void OnPush(const v1::ProgressResponse& response);
  bool Runs(const std::string& instance) const { return alive_ && instance_ == instance; }
  const Options& options() const { return options_; }
  std::string name() const;

 private:
  struct Running {
    v1::Attempt attempt;
    double at = 0;          // budget reached
    double checkpoint = 0;  // of this attempt, 0: none
    std::string line;
  };

  // Runs `what` later if this process still lives; a frozen one gets to it when it thaws.
  void Later(absl::Duration delay, std::function<void()> what);
  // The first answer counts; the request is sent again, the same, until there is one.
  template <typename Response, typename Request>
  void Call(const Request& request, absl::Duration deadline,
            std::function<void(const absl::Status&, const Response&)> then);
  template <typename Response, typename Request>
  void Send(int64_t call, const Request& request, absl::Duration deadline,
            const std::function<void(const absl::Status&, const Response&)>& then);

  void ScheduleDeath();
  void Die(bool restart_soon);
  void Preempt();
  void Register(bool then_lease);
  void Replay();
  void Lease();
  void Begin(const v1::Attempt& attempt);
  void Train();
  void WriteCheckpoint();
  void Heartbeat();
  void SendProgress(bool checkpointed);
  void OnProgress(const absl::Status& status, const v1::ProgressResponse& response);
  void End();
  void Report(v1::ReportRequest request);
  void Release(v1::LossReason reason, std::function<void()> then);
  v1::ReportRequest OutcomeOf(const Running& running);

  World& world_;
  Network& network_;
  CoordinatorNode& coordinator_;
  Ledger& ledger_;
  const Options options_;

  // Of the machine.
  std::deque<v1::ReportRequest> spool_;
  int64_t processes_ = 0;

  // Of the process.
  bool alive_ = false;
  int64_t life_ = 0;  // grows with each process
  std::string instance_;
  absl::Duration frozen_until_;
  int64_t calls_ = 0;
  std::map<int64_t, bool> awaited_;
  int64_t requests_ = 0;
  int64_t beats_ = 0;
  int64_t term_ = 0;
  bool leaving_ = false;
  std::optional<Running> running_;
  int64_t work_ = 0;  // grows with each attempt: what belongs to an older one is dropped
};

}  // namespace rung::sim
