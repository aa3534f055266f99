#include "worker/agent.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/wire.h"
#include "worker/metric_thinner.h"

namespace rung {
namespace {

constexpr absl::Duration kSessionPatience = absl::Milliseconds(200);
constexpr absl::Duration kDrainPatience =
    absl::Seconds(10);  // to tell the coordinator, after the trainer has ended
constexpr absl::Duration kQuickAnswer = absl::Seconds(1);  // an idle answer faster than this did not wait
constexpr absl::Duration kIdlePause = absl::Milliseconds(200);
constexpr absl::Duration kFirstBackOff = absl::Seconds(1);
constexpr absl::Duration kMaxBackOff = absl::Minutes(1);
constexpr absl::Duration kGoodbyePatience = absl::Seconds(2);
constexpr size_t kRememberedCheckpoints = 8;
constexpr double kMoreThanInVain = 1.5;

AgentOptions WithJobTime(AgentOptions options) {
  options.link.job_time_left = options.job_time_left;
  return options;
}

// An answer that sending the same request again would not change.
bool IsSettled(const absl::Status& status) {
  return status.ok() || absl::IsAborted(status) || absl::IsInvalidArgument(status) ||
         absl::IsNotFound(status);
}

// The text with U+FFFD for what is not UTF-8: a program's last words may be cut or in another charset, and
// protobuf refuses to read such a request.
std::string ValidUtf8(const std::string& text) {
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

std::string AttemptText(const v1::JobKey& key) {
  return absl::StrFormat("trial %d/%d, rung %d, %sattempt %d", key.study(), key.trial(), key.rung(),
                         key.kind() == v1::ATTEMPT_KIND_EVALUATE ? "evaluation, " : "", key.attempt());
}

v1::ReportRequest OutcomeRequest(const AttemptOutcome& outcome) {
  v1::ReportRequest request;
  if (const auto* result = std::get_if<ResultValues>(&outcome)) *request.mutable_result() = ToWire(*result);
  if (const auto* failed = std::get_if<FailedOutcome>(&outcome)) {
    request.mutable_failure()->set_cause(ToWire(failed->cause));
    request.mutable_failure()->set_message(ValidUtf8(failed->message));
  }
  return request;
}

// The same attempt from its very start.
absl::StatusOr<AttemptPlan> PlanAnew(v1::Attempt attempt, absl::Duration time_to_leave) {
  attempt.clear_resume_dir();
  attempt.set_budget_from(0);
  return PlanAttempt(attempt, time_to_leave);
}

}  // namespace

Agent::Agent(AgentOptions options, MemoryEvents memory_events, Clock& clock, Log& log)
    : options_(WithJobTime(std::move(options))),
      clock_(clock),
      log_(log),
      trainer_(options_.trainer, std::move(memory_events), clock, log),
      resume_point_(options_.resume_patience, clock),
      link_(
          options_.link, [this](const v1::ProgressResponse& response) { OnCommand(response); },
          [this](const CoordinatorSession& session) { return ReplaySpool(session); }, clock, log) {}

std::string Agent::NextRequestId() {
  return absl::StrFormat("%s-%d", options_.link.identity.instance, ++requests_);
}

void Agent::Drain() {
  // Said again, as by each answer to a heartbeat, it gives no more time.
  if (!draining_.load()) drain_started_ms_ = absl::ToInt64Milliseconds(clock_.Steady());
  draining_ = true;
  control_.Request(Interrupt::kDrain);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (waiting_call_ != nullptr) waiting_call_->TryCancel();
}

void Agent::DrainBeforeJobEnd() {
  left_for_job_end_ = true;
  Drain();
}

absl::Duration Agent::TimeToLeave() const {
  return options_.job_time_left ? options_.job_time_left() - options_.leave_margin : absl::InfiniteDuration();
}

// The slowest of the last attempts: the next one may be like it.
absl::Duration Agent::TimeToBegin() const {
  const auto slowest = std::max_element(first_checkpoints_.begin(), first_checkpoints_.end());
  return TimeToLeave() - (slowest == first_checkpoints_.end() ? kFirstCheckpoint : *slowest);
}

// Of the running attempt nothing can be lost any more but what comes after this.
void Agent::OnSafe(absl::Duration started) {
  first_checkpoints_.push_back(clock_.Steady() - started);
  if (first_checkpoints_.size() > kRememberedCheckpoints) first_checkpoints_.pop_front();
  if (std::exchange(in_vain_, false)) unlink(options_.in_vain_path.c_str());
}

void Agent::OnInVain(absl::Duration started) {
  const absl::Duration ran = clock_.Steady() - started;
  log_.Write(LogLevel::kWarning, "ran_in_vain", {{"seconds", absl::StrCat(absl::ToDoubleSeconds(ran))}});
  Tell("its job ends before the attempt's first checkpoint: what it trained is lost");
  if (options_.in_vain_path.empty()) return;
  const absl::Status kept =
      WriteFileAtomic(options_.in_vain_path, absl::StrCat(absl::ToDoubleSeconds(ran), "\n"));
  if (!kept.ok()) log_.Write(LogLevel::kWarning, "not_kept", {{"error", std::string(kept.message())}});
}

void Agent::RememberInVain() {
  double seconds = 0;
  const std::string text =
      options_.in_vain_path.empty() ? "" : ReadFile(options_.in_vain_path, 64).value_or("");
  in_vain_ = absl::SimpleAtod(absl::StripAsciiWhitespace(text), &seconds) && seconds > 0;
  // A start with the same time would end the same way.
  if (in_vain_)
    first_checkpoints_.push_back(std::max(kFirstCheckpoint, kMoreThanInVain * absl::Seconds(seconds)));
}

void Agent::LeaveForJobEnd() {
  finished_ = true;
  left_for_job_end_ = true;
  why_finished_ = "its job ends soon";
  log_.Write(LogLevel::kInfo, "leaves", {{"job_time_left", absl::FormatDuration(options_.job_time_left())}});
}

bool Agent::DrainExpired() const {
  const absl::Duration since = std::max(absl::Milliseconds(drain_started_ms_.load()), attempt_ended_);
  return draining_ && clock_.Steady() - since > kDrainPatience;
}

void Agent::Pause(absl::Duration duration) {
  // Interrupts end the pause, which is all that a drain needs.
  pollfd event = {control_.event(), POLLIN, 0};
  poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(duration)));
}

void Agent::Tell(const std::string& line) const {
  if (options_.tell) options_.tell(line);
}

absl::Status Agent::Run() {
  RUNG_ASSIGN_OR_RETURN(spool_, Spool::Open(options_.spool_path));
  if (spool_->damaged())
    log_.Write(LogLevel::kWarning, "spool_damaged", {{"kept_as", options_.spool_path + ".damaged"}});
  RememberInVain();
  link_.Start();
  idle_since_ = clock_.Steady();
  std::optional<v1::Attempt> next;
  while (!finished_ && !draining_) {
    if (!EnoughTime()) {  // also of an attempt that was asked for a while ago: time passed meanwhile
      LeaveForJobEnd();
      break;
    }
    absl::StatusOr<std::optional<v1::Attempt>> step = next.has_value() ? RunAttempt(*next) : Lease();
    if (!step.ok()) return step.status();
    next = *std::move(step);
  }
  if (next.has_value()) {  // granted too late
    checkpoint_budget_ = 0;
    const std::string why = draining_ ? "the worker drains" : why_finished_;
    RUNG_RETURN_IF_ERROR(Release(next->key(), ReleasedOutcome{LossReason::kReleased, why}));
    link_.Attend(std::nullopt);
  }
  if (left_for_job_end_ && link_.Session(kGoodbyePatience).ok()) link_.SayLeaving("its job ends");
  link_.Stop();
  log_.Write(LogLevel::kInfo, "ended", {{"drained", draining_ ? "yes" : "no"}});
  Tell("ended: " + (draining_ ? "it was told to" : why_finished_));
  return absl::OkStatus();
}

// ---- lease
// -------------------------------------------------------------------------------------------------------

absl::StatusOr<std::optional<v1::Attempt>> Agent::Lease() {
  const auto session = link_.Session(kSessionPatience);
  if (!session.ok()) {
    if (!absl::IsUnavailable(session.status()) || GetErrorDetail(session.status()).has_value())
      return session.status();
    finished_ = clock_.Steady() - idle_since_ > options_.idle_exit;
    if (finished_) why_finished_ = "no coordinator, and so no work, for long";
    return std::nullopt;
  }
  const absl::Duration asked_at = clock_.Steady();
  v1::LeaseResponse response;
  const absl::Status status = AskForWork(**session, response);
  if (draining_ && !status.ok()) return std::nullopt;
  if (absl::IsAborted(status)) return status;
  if (!status.ok()) {
    log_.Write(LogLevel::kWarning, "lease_failed", {{"error", std::string(status.message())}});
    link_.Suspect((*session)->generation);
    Pause(kMinBackoff);
    return std::nullopt;
  }
  if (response.has_attempt()) return std::optional<v1::Attempt>(std::move(*response.mutable_attempt()));
  RUNG_RETURN_IF_ERROR(OnIdle(response, asked_at));
  return std::nullopt;
}

absl::Status Agent::AskForWork(const CoordinatorSession& session, v1::LeaseResponse& response) {
  v1::LeaseRequest request;
  request.set_worker(session.worker);
  request.set_instance(options_.link.identity.instance);
  const absl::Duration idle_left =
      std::min(options_.idle_exit - (clock_.Steady() - idle_since_), TimeToBegin());
  request.set_wait_seconds(
      absl::ToDoubleSeconds(std::clamp(idle_left, absl::ZeroDuration(), options_.lease_wait)));
  request.set_leaves_if_surplus(options_.idle_exit != absl::InfiniteDuration());
  grpc::ClientContext context;
  session.Prepare(context, kLeaseDeadline);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_call_ = &context;
  }
  absl::Status status = absl::CancelledError();
  if (!draining_) status = FromWire(session.stub->Lease(&context, request, &response));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_call_ = nullptr;
  }
  return status.ok() ? session.CheckTerm(response.term()) : status;
}

absl::Status Agent::OnIdle(const v1::LeaseResponse& response, absl::Duration asked_at) {
  const bool drained = response.idle() == v1::IDLE_REASON_DRAINED;
  const bool done = response.idle() == v1::IDLE_REASON_STUDY_DONE && options_.exit_when_done;
  const bool surplus = response.idle() == v1::IDLE_REASON_SURPLUS;
  const bool bored = clock_.Steady() - idle_since_ > options_.idle_exit;
  finished_ = drained || done || surplus || bored;
  if (finished_)
    why_finished_ = drained   ? "the coordinator sent it home"
                    : done    ? "every study is finished"
                    : surplus ? "other workers do all that is left"
                              : "no work for long";
  if (!finished_ && clock_.Steady() - asked_at < kQuickAnswer) Pause(kIdlePause);
  return absl::OkStatus();
}

// ---- attempt
// -----------------------------------------------------------------------------------------------------

void Agent::OnCommand(const v1::ProgressResponse& response) {
  if (response.command() == v1::COMMAND_DRAIN) {
    Drain();
    return;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!current_.has_value()) return;
  if (response.has_attempt() && !SameAttempt(response.attempt(), *current_)) return;
  if (response.command() == v1::COMMAND_STOP) control_.Request(Interrupt::kStop);
  if (response.command() == v1::COMMAND_LEASE_LOST) control_.Request(Interrupt::kLeaseLost);
  if (response.command() == v1::COMMAND_CHECKPOINT) control_.RequestCheckpoint();
}

std::optional<AttemptOutcome> Agent::AwaitResumePoint(AttemptPlan& plan) {
  const std::string directory = plan.attempt.resume_dir();
  switch (resume_point_.Await(plan, control_)) {
    case ResumePoint::Sight::kSeen:
      return std::nullopt;
    case ResumePoint::Sight::kInterrupted:
      if (control_.interrupt() == Interrupt::kLeaseLost) return AbandonedOutcome{};
      return ReleasedOutcome{LossReason::kReleased, "stopped while it waited for its checkpoint"};
    case ResumePoint::Sight::kGone:
      // A trainer that starts anew gets the same weights; an evaluation has nothing to start.
      log_.Write(LogLevel::kWarning, "starting_without_checkpoint", {{"resume", directory}});
      if (plan.evaluates()) break;
      if (absl::StatusOr<AttemptPlan> anew = PlanAnew(plan.attempt, TimeToLeave()); anew.ok()) {
        plan = *std::move(anew);
        return std::nullopt;
      }
      break;
    case ResumePoint::Sight::kUnseen:
      break;
  }
  const absl::Status unseen =
      MakeError(absl::StatusCode::kUnavailable,
                {"E0725", "the checkpoint to go on from cannot be seen from here: " + directory, directory,
                 directory, "Look at the file system of the state directory on this node"});
  // Each worker says it once of a training, however many there are: that must not use up the trial's losses.
  // An evaluation nobody can do is given up by them.
  return ReleasedOutcome{plan.evaluates() ? LossReason::kKilled : LossReason::kReleased,
                         std::string(unseen.message())};
}

AttemptOutcome Agent::Execute(const v1::Attempt& attempt) {
  absl::StatusOr<AttemptPlan> plan = PlanAttempt(attempt, TimeToLeave());
  if (!plan.ok()) return ReleasedOutcome{LossReason::kKilled, std::string(plan.status().message())};
  const absl::Status data = data_check_.Verify(attempt);
  if (absl::IsUnavailable(data)) {
    return ReleasedOutcome{LossReason::kReleased, std::string(data.message()), /*data_unreadable=*/true};
  }
  if (!data.ok()) {
    return FailedOutcome{FailureCause::kBadData, std::string(data.message())};
  }
  if (std::optional<AttemptOutcome> outcome = AwaitResumePoint(*plan); outcome.has_value()) {
    return *std::move(outcome);
  }
  const absl::Duration started = clock_.Steady();
  bool safe = false;
  const auto on_safe = [&] {
    if (!std::exchange(safe, true)) OnSafe(started);
  };
  AttemptObserver observer;
  int64_t step = 0;
  MetricThinner thinner;
  const auto tell = [&](const std::vector<MetricMessage>& metrics) {
    for (const MetricMessage& metric : metrics) link_.SendMetric(attempt.key(), metric);
  };
  observer.on_metric = [&](const MetricMessage& metric) {
    step = metric.step;
    tell(thinner.Add(metric, clock_.Steady()));
  };
  observer.on_checkpoint = [&](const CheckpointMessage& checkpoint) {
    checkpoint_budget_ = checkpoint.budget;
    tell(thinner.Rest());  // whoever goes on from here does not repeat them
    link_.SendCheckpoint(attempt.key(), step, checkpoint.budget);
    on_safe();
  };
  AttemptOutcome outcome = trainer_.Run(*plan, control_, observer);
  tell(thinner.Rest());
  if (std::holds_alternative<ResultValues>(outcome)) on_safe();
  if (!safe && left_for_job_end_ && std::holds_alternative<ReleasedOutcome>(outcome)) OnInVain(started);
  return outcome;
}

absl::StatusOr<std::optional<v1::Attempt>> Agent::RunAttempt(const v1::Attempt& attempt) {
  control_.Reset();
  checkpoint_budget_ = 0;
  if (draining_) control_.Request(Interrupt::kDrain);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    current_ = attempt.key();
  }
  link_.Attend(attempt.key());
  const std::string key = KeyText(attempt.key());
  log_.Write(LogLevel::kInfo, "attempt_started", {{"attempt", key}, {"resume", attempt.resume_dir()}});
  Tell(AttemptText(attempt.key()) + " begins");
  const AttemptOutcome outcome = Execute(attempt);
  attempt_ended_ = clock_.Steady();
  log_.Write(LogLevel::kInfo, "attempt_ended", {{"attempt", key}, {"outcome", OutcomeText(outcome)}});
  Tell(AttemptText(attempt.key()) + " ends: " + OutcomeText(outcome));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    current_.reset();
  }
  absl::StatusOr<std::optional<v1::Attempt>> next = std::optional<v1::Attempt>();
  if (const auto* released = std::get_if<ReleasedOutcome>(&outcome)) {
    if (absl::Status told = Release(attempt.key(), *released); !told.ok()) next = told;
    if (!released->worker_unfit.ok()) next = released->worker_unfit;
  } else if (!std::holds_alternative<AbandonedOutcome>(outcome)) {
    v1::ReportRequest request = OutcomeRequest(outcome);
    *request.mutable_attempt() = attempt.key();
    request.set_checkpoint_budget(checkpoint_budget_);
    next = Report(std::move(request));
  }
  if (!next.ok() || !next->has_value()) link_.Attend(std::nullopt);
  if (next.ok()) BackOff(outcome);
  idle_since_ = clock_.Steady();
  return next;
}

// A machine on which attempts die one after the other must not use up every trial's losses at once.
void Agent::BackOff(const AttemptOutcome& outcome) {
  const auto* released = std::get_if<ReleasedOutcome>(&outcome);
  killed_in_a_row_ =
      released != nullptr && released->reason == LossReason::kKilled ? killed_in_a_row_ + 1 : 0;
  if (killed_in_a_row_ < 2) return;
  const absl::Duration pause = std::min(kFirstBackOff * std::pow(2, killed_in_a_row_ - 2), kMaxBackOff);
  log_.Write(LogLevel::kWarning, "backs_off", {{"pause", absl::FormatDuration(pause)}});
  Tell("waits " + absl::FormatDuration(pause) + ", since attempts die here");
  Pause(pause);
}

// ---- report and release
// ------------------------------------------------------------------------------------------

// Heartbeats name the attempt until the coordinator has the report: its lease must not run out meanwhile.
absl::StatusOr<std::optional<v1::Attempt>> Agent::Report(v1::ReportRequest request) {
  request.set_instance(options_.link.identity.instance);
  request.set_request_id(NextRequestId());
  request.set_want_next(!draining_ && EnoughTime());
  bool spooled = false;
  while (!DrainExpired()) {
    const auto session = link_.Session(kSessionPatience);
    absl::Status status = session.status();
    v1::ReportResponse response;
    if (session.ok()) {
      if (!spooled) request.set_worker((*session)->worker);  // the same bytes under the same request id
      status = SendReport(**session, request, response);
    } else if (!absl::IsUnavailable(status)) {
      return status;
    }
    if (IsSettled(status)) {
      if (spooled) Unspool(request.request_id());
      if (!status.ok() || !response.has_next()) return std::optional<v1::Attempt>();
      return std::optional<v1::Attempt>(std::move(*response.mutable_next()));
    }
    if (!spooled) SpoolReport(request, status);
    spooled = true;
    if (session.ok()) {
      link_.Suspect((*session)->generation);
      Pause(kMinBackoff);
    }
  }
  log_.Write(LogLevel::kWarning, "report_left_in_spool", {{"attempt", KeyText(request.attempt())}});
  return std::optional<v1::Attempt>();
}

absl::Status Agent::SendReport(const CoordinatorSession& session, const v1::ReportRequest& request,
                               v1::ReportResponse& response) {
  link_.Flush();
  grpc::ClientContext context;
  session.Prepare(context, kCallDeadline);
  const absl::Status status = FromWire(session.stub->Report(&context, request, &response));
  if (status.ok()) return session.CheckTerm(response.term());
  if (IsSettled(status))
    log_.Write(LogLevel::kWarning, "report_refused", {{"error", std::string(status.message())}});
  return status;
}

void Agent::SpoolReport(const v1::ReportRequest& request, const absl::Status& why) {
  const absl::Status stored = spool_->Add(request);
  log_.Write(LogLevel::kWarning, "report_spooled",
             {{"error", std::string(why.message())}, {"stored", stored.ok() ? "yes" : "no"}});
}

absl::Status Agent::Release(const v1::JobKey& attempt, const ReleasedOutcome& outcome) {
  v1::ReleaseRequest request;
  request.set_instance(options_.link.identity.instance);
  request.set_request_id(NextRequestId());
  *request.mutable_attempt() = attempt;
  request.set_reason(ToWire(outcome.reason));
  request.set_checkpoint_budget(checkpoint_budget_);
  request.set_message(ValidUtf8(outcome.message));
  request.set_data_unreadable(outcome.data_unreadable);
  while (!DrainExpired()) {
    const auto session = link_.Session(kSessionPatience);
    if (!session.ok()) {
      if (!absl::IsUnavailable(session.status())) return session.status();
      continue;
    }
    request.set_worker((*session)->worker);
    link_.Flush();
    grpc::ClientContext context;
    (*session)->Prepare(context, kCallDeadline);
    v1::ReleaseResponse response;
    absl::Status status = FromWire((*session)->stub->Release(&context, request, &response));
    if (status.ok()) status = (*session)->CheckTerm(response.term());
    if (IsSettled(status)) {
      if (!status.ok()) {
        log_.Write(LogLevel::kWarning, "release_refused", {{"error", std::string(status.message())}});
      }
      return absl::OkStatus();
    }
    link_.Suspect((*session)->generation);
    Pause(kMinBackoff);
  }
  return absl::OkStatus();
}

// What an earlier process of this name left. Runs on the link's thread, before the agent's thread has
// anything to report.
absl::Status Agent::ReplaySpool(const CoordinatorSession& session) {
  const std::vector<v1::ReportRequest> left = spool_->reports();
  for (v1::ReportRequest request : left) {
    request.set_want_next(false);
    grpc::ClientContext context;
    session.Prepare(context, kCallDeadline);
    v1::ReportResponse response;
    const absl::Status status = FromWire(session.stub->Report(&context, request, &response));
    log_.Write(LogLevel::kInfo, "report_replayed",
               {{"attempt", KeyText(request.attempt())},
                {"answer", status.ok() ? response.decision() : std::string(status.message())}});
    if (IsSettled(status)) {
      Unspool(request.request_id());
    } else if (IsPassing(status)) {
      return status;  // once this process has registered, the lease of the one that left it is gone
    }
  }
  return absl::OkStatus();
}

// Told again after a restart, it would be answered as it was.
void Agent::Unspool(const std::string& request_id) {
  if (const absl::Status removed = spool_->Remove(request_id); !removed.ok()) {
    log_.Write(LogLevel::kError, "spool_not_written", {{"error", std::string(removed.message())}});
  }
}

}  // namespace rung
