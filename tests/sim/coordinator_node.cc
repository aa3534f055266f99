#include "tests/sim/coordinator_node.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "coordinator/recovery.h"
#include "proto/wire.h"

namespace rung::sim {
namespace {

constexpr absl::Duration kTick = absl::Seconds(2);
constexpr double kDrained = 0.3;  // of the ends of a coordinator
constexpr char kDatabase[] = "/rung.db";
constexpr int64_t kMostOperations = 100;  // of the disk, until it fails

}  // namespace

CoordinatorNode::CoordinatorNode(World& world, Ledger& ledger, absl::Duration lease_ttl, OnPush on_push,
                                 ProvedGone proved_gone)
    : world_(world), ledger_(ledger), on_push_(std::move(on_push)), proved_gone_(std::move(proved_gone)) {
  options_.dir = StateDir{"/state"};
  options_.nonce = "nonce";
  options_.lease_ttl = lease_ttl;
  if (world_.faults.power_cut > 0) disk_ = std::make_unique<LossyDisk>(world_.rng.Next());
  auto store = StudyStore::Open(disk_ == nullptr ? ":memory:" : kDatabase);
  RUNG_CHECK(store.ok(), "a new store opens");
  store_ = *std::move(store);
  Start();
}

Now CoordinatorNode::TimeNow() const {
  const absl::Duration steady = world_.schedule.now();
  return Now{absl::FromUnixSeconds(1'700'000'000) + steady + world_.wall_jump, steady};
}

void CoordinatorNode::Start() {
  const int64_t life = ++life_;
  ++options_.term;
  if (disk_ != nullptr && disk_->dead()) PowerReturns();
  if (store_ == nullptr) return;
  absl::StatusOr<Core> core = LoadCore(options_, *store_);
  if (!core.ok())
    return ledger_.Breach("the store cannot be read again: " + std::string(core.status().message()));
  core_ = std::make_unique<Core>(*std::move(core));
  core_->Start(TimeNow());
  ledger_.OnRecovery(*core_);
  RemoveLeftOver();
  draining_ = false;
  group_due_ = false;
  Tick();
  if (world_.healed) return;
  world_.schedule.In(world_.After(world_.faults.coordinator_life), [this, life] {
    if (life != life_ || world_.healed) return;
    if (world_.rng.Uniform() >= kDrained) return Kill();
    Receive(DrainAll{}, nullptr);
    world_.schedule.In(absl::Seconds(world_.rng.Uniform() * 20), [this, life] {
      if (life == life_) Kill();
    });
  });
}

// As rungd does: what the one before had no time to remove.
void CoordinatorNode::RemoveLeftOver() {
  for (const auto& [id, entry] : core_->studies()) {
    for (const TrialId trial : entry.study.trials()) {
      for (const std::string& directory : core_->ObsoleteOf(id, trial)) world_.disk.RemoveAll(directory);
    }
  }
  ledger_.OnRemoval(*core_);
}

void CoordinatorNode::Kill() {
  world_.Trace("the coordinator is killed");
  core_ = nullptr;
  queue_.clear();
  waiting_.clear();
  const int64_t life = ++life_;
  const double seconds = world_.healed ? 1 : world_.rng.Uniform() < 0.2 ? 120 : 5 * world_.rng.Uniform();
  world_.schedule.In(absl::Seconds(seconds), [this, life] {
    if (life == life_) Start();
  });
}

void CoordinatorNode::Tick() {
  const int64_t life = life_;
  for (const WorkerRecord& suspect : core_->Suspects(TimeNow())) {
    if (proved_gone_(suspect)) Receive(ProcessGone{suspect.name, suspect.instance}, nullptr);
  }
  RunGroup();
  if (life != life_) return;
  world_.schedule.In(kTick, [this, life] {
    if (life == life_) Tick();
  });
}

void CoordinatorNode::Receive(Body body, Answer answer) {
  if (core_ == nullptr) return;
  queue_.push_back({std::move(body), std::move(answer)});
  if (group_due_) return;
  group_due_ = true;
  world_.schedule.In(world_.group * world_.rng.Uniform(), [this, life = life_] {
    if (life == life_) RunGroup();
  });
}

// As a coordinator would act that did not look at attempt numbers or request ids.
void CoordinatorNode::Mutate(Body& body) const {
  const auto unfence = [&](v1::JobKey* key) {
    const AttemptKey attempt = FromWire(*key);
    const Lease* lease = core_->leases().Find(attempt.study, attempt.job);
    if (lease != nullptr) key->set_attempt(lease->key.attempt);
  };
  if (world_.mutation == Mutation::kNoFencing) {
    if (auto* report = std::get_if<v1::ReportRequest>(&body)) unfence(report->mutable_attempt());
    if (auto* release = std::get_if<v1::ReleaseRequest>(&body)) unfence(release->mutable_attempt());
    if (auto* progress = std::get_if<v1::ProgressRequest>(&body);
        progress != nullptr && progress->has_attempt())
      unfence(progress->mutable_attempt());
  }
  if (world_.mutation == Mutation::kNoIdempotency) {
    if (auto* report = std::get_if<v1::ReportRequest>(&body)) report->clear_request_id();
    if (auto* release = std::get_if<v1::ReleaseRequest>(&body)) release->clear_request_id();
    if (auto* create = std::get_if<v1::CreateStudyRequest>(&body)) create->clear_request_id();
    if (auto* state = std::get_if<v1::SetStudyStateRequest>(&body)) state->clear_request_id();
  }
}

// One turn of the coordinator's loop: apply, store, answer.
void CoordinatorNode::RunGroup() {
  group_due_ = false;
  ++steps_;
  bool drained = draining_;
  for (Item& item : std::exchange(queue_, {})) {
    const int64_t ticket = item.answer == nullptr ? 0 : ++tickets_;
    Body body = item.body;
    if (ticket != 0) waiting_[ticket] = std::move(item);
    Mutate(body);
    drained = drained || std::holds_alternative<DrainAll>(body);
    core_->Apply(Command{ticket, std::move(body)}, TimeNow());
  }
  core_->Settle(TimeNow());
  const Effects effects = core_->Take();
  if (!effects.batch.empty() && !Commit(effects.batch)) return Kill();
  draining_ = drained;
  ledger_.OnStep(*core_, effects.batch);
  for (const std::string& directory : effects.obsolete) world_.disk.RemoveAll(directory);
  if (!effects.obsolete.empty()) ledger_.OnRemoval(*core_);
  const int64_t life = life_;
  for (const Reply& reply : effects.replies) {
    const auto found = waiting_.find(reply.ticket);
    if (found == waiting_.end()) continue;
    const Item item = std::move(found->second);
    waiting_.erase(found);
    if (world_.Chance(world_.faults.killed_before_answer)) return Kill();
    Answered(item, reply);
    item.answer(reply.status, reply.bytes);
    if (life != life_) return;
  }
  for (const Push& push : effects.pushes) on_push_(push);
}

void CoordinatorNode::Answered(const Item& item, const Reply& reply) {
  if (const auto* report = std::get_if<v1::ReportRequest>(&item.body)) {
    v1::ReportResponse response;
    if (reply.status.ok()) response.ParseFromString(reply.bytes);
    ledger_.OnReportAnswer(*report, reply.status, response.decision());
  }
  if (const auto* create = std::get_if<v1::CreateStudyRequest>(&item.body)) {
    ledger_.OnAnswer(create->request_id(), reply.status, "");
    if (!reply.status.ok()) ledger_.Breach("a study was refused: " + std::string(reply.status.message()));
  }
}

// Of what was not synced a part is left; of the commit that was cut off, all or nothing.
void CoordinatorNode::PowerReturns() {
  world_.Trace("the power returns");
  ++power_cuts_;
  store_ = nullptr;
  disk_->Restore();
  auto store = StudyStore::Open(kDatabase);
  if (!store.ok())
    return ledger_.Breach("no store after a power cut: " + std::string(store.status().message()));
  store_ = *std::move(store);
  const Batch batch = std::exchange(in_doubt_, Batch{});
  size_t found = 0;
  const absl::Status studies = store_->LoadStudies([&](const StudyRecord& record) {
    for (const StudyRecord& wanted : batch.studies) found += wanted.id == record.id ? 1 : 0;
    return absl::OkStatus();
  });
  const absl::Status events = store_->LoadEvents([&](StudyId, const Event& event) {
    found += !batch.events.empty() && event.seq >= batch.events.front().event.seq ? 1 : 0;
    return absl::OkStatus();
  });
  if (!studies.ok() || !events.ok()) return ledger_.Breach("the store cannot be read after a power cut");
  if (found == 0) return;
  if (found != batch.studies.size() + batch.events.size())
    return ledger_.Breach("a part of a commit is stored");
  ledger_.OnCommit(batch, draining_);
}

bool CoordinatorNode::Store(const Batch& batch) {
  const absl::Status stored = store_->Append(batch);
  if (!stored.ok() && disk_ != nullptr && disk_->dead()) {
    in_doubt_ = batch;
    return false;
  }
  if (!stored.ok()) ledger_.Breach("a rule of the schema was broken: " + std::string(stored.message()));
  events_ += static_cast<int64_t>(batch.events.size());
  for (const StoredEvent& each : batch.events) {
    const Event& event = each.event;
    world_.Trace(absl::StrFormat("%d %s %d/%d.%d.%d attempt %d %s%s", event.seq, Name(event.kind),
                                 each.study.value, event.job.trial.value, event.job.rung, event.job.replicate,
                                 event.attempt, event.worker, event.message));
  }
  ledger_.OnCommit(batch, draining_);
  return true;
}

bool CoordinatorNode::Commit(const Batch& batch) {
  if (world_.mutation == Mutation::kSplitTransaction) return CommitInTwo(batch);
  if (world_.Chance(world_.faults.commit_refused)) return false;
  if (disk_ != nullptr && world_.Chance(world_.faults.power_cut))
    disk_->CutAfter(1 + world_.rng.Below(kMostOperations));
  return Store(batch) && !world_.Chance(world_.faults.commit_in_doubt);
}

bool CoordinatorNode::CommitInTwo(const Batch& batch) {
  Batch first, second = batch;
  const auto half = static_cast<std::ptrdiff_t>((batch.events.size() + 1) / 2);
  first.studies = std::exchange(second.studies, {});
  first.events.assign(batch.events.begin(), batch.events.begin() + half);
  second.events.erase(second.events.begin(), second.events.begin() + half);
  Store(first);
  if (world_.Chance(world_.faults.commit_refused + world_.faults.commit_in_doubt)) return false;
  Store(second);
  return true;
}

std::string CoordinatorNode::Progress() const {
  if (core_ == nullptr) return "the coordinator is down";
  std::string text;
  for (const auto& [id, entry] : core_->studies()) {
    text += absl::StrFormat("study %d is %s, %d trials; ", id.value, Name(entry.study.state()),
                            static_cast<int>(entry.study.trials().size()));
  }
  return text +
         absl::StrFormat("%d leases, %d steps", static_cast<int>(core_->leases().all().size()), steps_);
}

}  // namespace rung::sim
