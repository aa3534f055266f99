#include "tests/sim/worker_node.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_format.h"
#include "proto/wire.h"

namespace rung::sim {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(10);
constexpr absl::Duration kLeaseDeadline = absl::Seconds(40);
constexpr double kFrozen = 0.25, kPreempted = 0.25;   // of what befalls a worker; else it is killed
constexpr absl::Duration kFreeze = absl::Minutes(5);  // longer than three times the lease

// A property of the config: the same wherever it runs.
double Fate(const std::string& line, const char* of_what) {
  return static_cast<double>(std::hash<std::string>()(line + of_what) % 10'007) / 10'007.0;
}

}  // namespace

WorkerNode::WorkerNode(World& world, Network& network, CoordinatorNode& coordinator, Ledger& ledger,
                       Options options)
    : world_(world), network_(network), coordinator_(coordinator), ledger_(ledger), options_(options) {}

std::string WorkerNode::name() const {
  return absl::StrFormat("host%d-0", options_.number);
}

void WorkerNode::Later(absl::Duration delay, std::function<void()> what) {
  world_.schedule.In(delay, [this, life = life_, what = std::move(what)] {
    if (life != life_ || !alive_) return;
    const absl::Duration frozen = frozen_until_ - world_.schedule.now();
    if (frozen > absl::ZeroDuration()) return Later(frozen, what);
    what();
  });
}

template <typename Response, typename Request>
void WorkerNode::Send(int64_t call, const Request& request, absl::Duration deadline,
                      const std::function<void(const absl::Status&, const Response&)>& then) {
  const auto answered = [this, life = life_, call, then](const absl::Status& status,
                                                         const std::string& bytes) {
    network_.Send(options_.number, [=, this] {
      if (life != life_) return;
      Later(absl::ZeroDuration(), [=, this] {
        Response response;
        if (status.ok()) response.ParseFromString(bytes);
        if (status.ok() && response.term() < term_) return;  // of a coordinator that was replaced
        if (awaited_.erase(call) == 0) return;
        term_ = std::max<int64_t>(term_, response.term());
        then(status, response);
      });
    });
  };
  network_.Send(options_.number, [=, this] { coordinator_.Receive(request, answered); });
  Later(deadline, [=, this] {
    if (awaited_.contains(call)) Send<Response>(call, request, deadline, then);
  });
}

template <typename Response, typename Request>
void WorkerNode::Call(const Request& request, absl::Duration deadline,
                      std::function<void(const absl::Status&, const Response&)> then) {
  const int64_t call = ++calls_;
  awaited_[call] = true;
  Send<Response>(call, request, deadline, then);
}

// ---- process

void WorkerNode::StartProcess() {
  ++life_;
  alive_ = true;
  instance_ = absl::StrFormat("%s/%d", name(), ++processes_);
  frozen_until_ = absl::ZeroDuration();
  awaited_.clear();
  requests_ = beats_ = term_ = 0;
  leaving_ = false;
  running_.reset();
  ++work_;
  Register(/*then_lease=*/true);
  ScheduleDeath();
}

void WorkerNode::ScheduleDeath() {
  if (world_.healed) return;
  Later(world_.After(world_.faults.worker_life), [this] {
    if (world_.healed) return;
    const double dice = world_.rng.Uniform();
    if (dice < kFrozen) {
      frozen_until_ = world_.schedule.now() + kFreeze * world_.rng.Uniform();
      ScheduleDeath();
    } else if (dice < kFrozen + kPreempted) {
      Preempt();
    } else {
      Die(world_.rng.Uniform() < 0.5);
    }
  });
}

void WorkerNode::Die(bool restart_soon) {
  world_.Trace(instance_ + " dies");
  const std::string instance = instance_;
  alive_ = false;
  ++life_;
  running_.reset();
  network_.Send(options_.number, [this, instance] {
    coordinator_.Receive(StreamClosed{name(), instance}, nullptr);
  });
  if (options_.local && world_.rng.Uniform() < 0.5) {
    v1::WorkerGoneRequest gone;
    gone.set_host(absl::StrFormat("host%d", options_.number));
    gone.set_slot("0");
    gone.set_instance(instance);
    network_.Send(options_.number, [this, gone] { coordinator_.Receive(gone, nullptr); });
  }
  const absl::Duration away =
      world_.healed || restart_soon ? absl::Seconds(2) : absl::Minutes(6) * world_.rng.Uniform();
  world_.schedule.In(away, [this, life = life_] {
    if (life == life_) StartProcess();
  });
}

// SIGTERM: checkpoint, release, leave.
void WorkerNode::Preempt() {
  leaving_ = true;
  if (!running_.has_value()) return Die(false);
  WriteCheckpoint();
  Release(v1::LOSS_REASON_KILLED, [this] { Die(false); });
  Later(absl::Seconds(30), [this] { Die(false); });
}

void WorkerNode::Register(bool then_lease) {
  v1::RegisterRequest request;
  request.set_slot("0");
  request.set_instance(instance_);
  request.set_state_dir_nonce("nonce");
  request.mutable_process()->set_host(absl::StrFormat("host%d", options_.number));
  Call<v1::RegisterResponse>(request, kCallDeadline, [=, this](const absl::Status& status, const auto&) {
    if (!status.ok()) return Register(then_lease);
    network_.Send(options_.number, [this, instance = instance_] {
      coordinator_.Receive(StreamOpened{name(), instance}, nullptr);
    });
    if (then_lease) Replay();
  });
}

// What an earlier process could not deliver.
void WorkerNode::Replay() {
  if (spool_.empty()) return Lease();
  v1::ReportRequest request = spool_.front();
  request.set_want_next(false);
  Call<v1::ReportResponse>(request, kCallDeadline, [this](const absl::Status&, const auto&) {
    spool_.pop_front();
    Replay();
  });
}

void WorkerNode::Lease() {
  if (leaving_) return;
  v1::LeaseRequest request;
  request.set_worker(name());
  request.set_instance(instance_);
  request.set_wait_seconds(30);
  Call<v1::LeaseResponse>(
      request, kLeaseDeadline, [this](const absl::Status& status, const v1::LeaseResponse& response) {
        if (absl::IsFailedPrecondition(status)) return Register(/*then_lease=*/true);
        if (!status.ok()) return Later(absl::Seconds(1), [this] { Lease(); });
        if (response.has_attempt()) return Begin(response.attempt());
        if (response.idle() == v1::IDLE_REASON_DRAINED) return Die(true);  // its job is started again
        Later(absl::Seconds(response.idle() == v1::IDLE_REASON_STUDY_DONE ? 60 : 1), [this] { Lease(); });
      });
}

// ---- attempt

void WorkerNode::Begin(const v1::Attempt& attempt) {
  Running running;
  running.attempt = attempt;
  running.line = Ledger::LineOf(attempt);
  const Checkpoint* resumed = attempt.resume_dir().empty() ? nullptr : world_.disk.Read(attempt.resume_dir());
  ledger_.OnStart(attempt, resumed);
  world_.Trace(absl::StrFormat("%s begins %s from %s (%g)", instance_, attempt.checkpoint_dir(),
                               attempt.resume_dir(), attempt.budget_from()));
  if (resumed != nullptr) running.at = resumed->budget;
  running_ = std::move(running);
  ++work_;
  Heartbeat();
  Train();
}

void WorkerNode::Train() {
  const v1::Attempt& attempt = running_->attempt;
  if (attempt.key().kind() == v1::ATTEMPT_KIND_EVALUATE || running_->at >= attempt.budget_to()) {
    return Later(absl::Seconds(1), [this, work = work_] {
      if (work == work_) End();
    });
  }
  const double part = attempt.budget_to() / options_.checkpoints;
  const double next = std::min(attempt.budget_to(), running_->at + part);
  const absl::Duration time = options_.unit * (next - running_->at) * (0.8 + 0.4 * world_.rng.Uniform());
  Later(time, [this, work = work_, next] {
    if (work != work_) return;
    running_->at = next;
    const bool poison = Fate(running_->line, "poison") < world_.faults.poison;
    if (poison || options_.bad) return Die(true);
    WriteCheckpoint();
    if (world_.Chance(0.01)) return Die(true);  // on disk, and nobody was told
    SendProgress(true);
    Train();
  });
}

void WorkerNode::WriteCheckpoint() {
  if (running_->attempt.key().kind() == v1::ATTEMPT_KIND_EVALUATE || running_->at == 0) return;
  world_.disk.Write(running_->attempt.checkpoint_dir(), {running_->line, running_->at});
  running_->checkpoint = running_->at;
  world_.Trace(
      absl::StrFormat("%s wrote %s at %g", instance_, running_->attempt.checkpoint_dir(), running_->at));
}

void WorkerNode::Heartbeat() {
  Later(options_.lease_ttl / 3 * (0.9 + 0.2 * world_.rng.Uniform()), [this, work = work_] {
    if (work != work_) return;
    SendProgress(false);
    Heartbeat();
  });
}

void WorkerNode::SendProgress(bool checkpointed) {
  v1::ProgressRequest request;
  request.set_worker(name());
  request.set_instance(instance_);
  request.set_seq(++beats_);
  *request.mutable_attempt() = running_->attempt.key();
  request.set_budget(running_->at);
  request.set_checkpointed(checkpointed);
  if (checkpointed) {
    v1::MetricPoint& point = *request.add_points();
    point.set_step(beats_);
    *point.mutable_metric() = ToWire("score", Ledger::Score(running_->line, running_->at));
  }
  if (checkpointed) {
    // Kept until it is acknowledged, and so sent again; it may be overtaken by what comes after it.
    return Call<v1::ProgressResponse>(
        request, kCallDeadline,
        [this](const auto& status, const auto& response) { OnProgress(status, response); });
  }
  network_.Send(options_.number, [this, request, life = life_] {
    coordinator_.Receive(request, [this, life](const absl::Status& status, const std::string& bytes) {
      network_.Send(options_.number, [=, this] {
        if (life != life_) return;
        Later(absl::ZeroDuration(), [=, this] {
          v1::ProgressResponse response;
          if (status.ok()) response.ParseFromString(bytes);
          OnProgress(status, response);
        });
      });
    });
  });
}

void WorkerNode::OnProgress(const absl::Status& status, const v1::ProgressResponse& response) {
  if (absl::IsFailedPrecondition(status)) return Register(/*then_lease=*/false);  // the training goes on
  if (status.ok()) OnPush(response);
}

void WorkerNode::OnPush(const v1::ProgressResponse& response) {
  Later(absl::ZeroDuration(), [this, response] {
    if (!running_.has_value() || leaving_ || response.term() < term_) return;
    if (response.has_attempt() && FromWire(response.attempt()) != FromWire(running_->attempt.key())) return;
    switch (response.command()) {
      case v1::COMMAND_LEASE_LOST:
        running_.reset();
        ++work_;
        return Lease();
      case v1::COMMAND_STOP:
        return Release(v1::LOSS_REASON_RELEASED, [this] { Lease(); });
      case v1::COMMAND_DRAIN:
        return Preempt();
      case v1::COMMAND_CHECKPOINT:
        return WriteCheckpoint();
      default:
        return;
    }
  });
}

v1::ReportRequest WorkerNode::OutcomeOf(const Running& running) {
  v1::ReportRequest request;
  *request.mutable_attempt() = running.attempt.key();
  const bool evaluate = running.attempt.key().kind() == v1::ATTEMPT_KIND_EVALUATE;
  const std::string fated = running.line + absl::StrFormat(" rung %d", running.attempt.key().rung());
  if (!evaluate && Fate(fated, "crash") < world_.faults.crash) {
    request.mutable_failure()->set_cause(v1::FAILURE_CAUSE_CRASH);
    request.mutable_failure()->set_message("fated: " +
                                           fated);  // else a search gives up where the first eight fail
  } else if (world_.Chance(world_.faults.infrastructure)) {
    request.mutable_failure()->set_cause(v1::FAILURE_CAUSE_INFRASTRUCTURE);
  } else {
    *request.mutable_result()->add_values() =
        ToWire("score", Ledger::Score(running.line, running.attempt.budget_to()));
    request.mutable_result()->set_charged(
        evaluate ? 0 : std::max(0.0, running.attempt.budget_to() - running.attempt.budget_from()));
    request.mutable_result()->set_device_seconds(1);
  }
  return request;
}

void WorkerNode::End() {
  v1::ReportRequest request = OutcomeOf(*running_);
  request.set_checkpoint_budget(running_->checkpoint);
  running_.reset();
  ++work_;
  request.set_worker(name());
  request.set_instance(instance_);
  request.set_request_id(absl::StrFormat("%s/%d", instance_, ++requests_));
  request.set_want_next(!leaving_);
  spool_.push_back(request);
  Report(request);
}

void WorkerNode::Report(v1::ReportRequest request) {
  Call<v1::ReportResponse>(
      request, kCallDeadline,
      [this, id = request.request_id()](const absl::Status&, const v1::ReportResponse& response) {
        std::erase_if(spool_, [&](const v1::ReportRequest& each) { return each.request_id() == id; });
        if (response.has_next()) return Begin(response.next());
        Lease();
      });
}

void WorkerNode::Release(v1::LossReason reason, std::function<void()> then) {
  v1::ReleaseRequest request;
  request.set_worker(name());
  request.set_instance(instance_);
  request.set_request_id(absl::StrFormat("%s/%d", instance_, ++requests_));
  *request.mutable_attempt() = running_->attempt.key();
  request.set_reason(reason);
  request.set_checkpoint_budget(running_->checkpoint);
  running_.reset();
  ++work_;
  Call<v1::ReleaseResponse>(request, kCallDeadline,
                            [then = std::move(then)](const absl::Status&, const auto&) { then(); });
}

}  // namespace rung::sim
