// The machine of the coordinator: the real core over a real SQLite store, killed and started again as chance
// has it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core.h"
#include "storage/study_store.h"
#include "tests/sim/ledger.h"
#include "tests/sim/network.h"
#include "tests/storage/lossy_disk.h"

namespace rung::sim {

class CoordinatorNode {
 public:
  using Body = decltype(Command::body);
  using Answer = std::function<void(const absl::Status&, const std::string& bytes)>;
  using OnPush = std::function<void(const Push&)>;
  // Whether the process of this worker is gone, as far as the coordinator's host can prove it.
  using ProvedGone = std::function<bool(const WorkerRecord&)>;

  CoordinatorNode(World& world, Ledger& ledger, absl::Duration lease_ttl, OnPush on_push,
                  ProvedGone proved_gone);

  // A message arrives; without a running coordinator it is lost. `answer` may be null.
  void Receive(Body body, Answer answer);
  void Kill();
  // Every study has ended.
  void Export() { ledger_.OnExport(*core_, *store_); }
  bool AllFinished() const { return core_ != nullptr && core_->AllFinished(); }
  int64_t steps() const { return steps_; }
  int64_t events() const { return events_; }
  int64_t restarts() const { return options_.term - 1; }
  int64_t power_cuts() const { return power_cuts_; }
  std::string Progress() const;

 private:
  struct Item {
    Body body;
    Answer answer;
  };

  void Start();
  void RemoveLeftOver();
  void Tick();
  void RunGroup();
  // False: the coordinator ended.
  bool Commit(const Batch& batch);
  bool CommitInTwo(const Batch& batch);
  // False: the power is gone, and whether the batch is stored will show.
  bool Store(const Batch& batch);
  void PowerReturns();
  void Answered(const Item& item, const Reply& reply);
  void Mutate(Body& body) const;
  Now TimeNow() const;

  World& world_;
  Ledger& ledger_;
  const OnPush on_push_;
  const ProvedGone proved_gone_;
  CoreOptions options_;
  std::unique_ptr<LossyDisk> disk_;  // null: no power is cut, the store is in memory
  std::unique_ptr<StudyStore> store_;
  Batch in_doubt_;
  std::unique_ptr<Core> core_;  // null while the process is down
  int64_t life_ = 0;
  bool draining_ = false;
  bool group_due_ = false;
  std::vector<Item> queue_;
  std::map<int64_t, Item> waiting_;  // by ticket
  int64_t tickets_ = 0;
  int64_t steps_ = 0;
  int64_t events_ = 0;
  int64_t power_cuts_ = 0;
};

}  // namespace rung::sim
