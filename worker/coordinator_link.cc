#include "worker/coordinator_link.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "proto/wire.h"

namespace rung {
namespace {

constexpr absl::Duration kEndpointPoll = absl::Milliseconds(50);
constexpr double kMinHeartbeatSeconds = 0.05;
constexpr double kDefaultHeartbeatSeconds = 20;
constexpr double kLeastSecondsLeft = 0.001;  // 0 means that no end is known

// Changes whenever endpoint.json is replaced.
std::pair<uint64_t, int64_t> FileStamp(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {0, 0};
  return {static_cast<uint64_t>(info.st_ino), info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

}  // namespace

CoordinatorLink::CoordinatorLink(Options options, CommandSink sink, BeforeRegister before_register,
                                 Clock& clock, Log& log)
    : options_(std::move(options)),
      sink_(std::move(sink)),
      before_register_(std::move(before_register)),
      clock_(clock),
      log_(log),
      journal_(options_.points_path) {
  for (const char c : options_.identity.instance)
    jitter_state_ = jitter_state_ * 31 + static_cast<unsigned char>(c);
}

CoordinatorLink::~CoordinatorLink() {
  Stop();
}

void CoordinatorLink::Start() {
  started_ = clock_.Steady();
  thread_ = std::thread([this] { Loop(); });
}

void CoordinatorLink::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::shared_ptr<const CoordinatorSession>> CoordinatorLink::Session(absl::Duration patience) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoMilliseconds(patience),
                    [this] { return session_ != nullptr || !final_error_.ok(); });
  if (!final_error_.ok()) return final_error_;
  if (session_ == nullptr) return absl::UnavailableError("not attached to a coordinator");
  return session_;
}

void CoordinatorLink::Suspect(int64_t generation) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (session_ == nullptr || session_->generation != generation) return;
    stream_broken_ = true;
    session_.reset();
  }
  changed_.notify_all();
}

void CoordinatorLink::Attend(const std::optional<v1::JobKey>& attempt) {
  const std::lock_guard<std::mutex> lock(mutex_);
  heartbeat_.Clear();
  if (attempt.has_value()) *heartbeat_.mutable_attempt() = *attempt;
}

void CoordinatorLink::SendMetric(const v1::JobKey& attempt, const MetricMessage& metric) {
  v1::ProgressRequest message;
  *message.mutable_attempt() = attempt;
  message.set_step(metric.step);
  message.set_budget(metric.budget);
  for (const auto& [name, value] : metric.values) {
    v1::MetricPoint& point = *message.add_points();
    point.set_step(metric.step);
    point.set_budget(metric.budget);
    *point.mutable_metric() = ToWire(name, value);
  }
  Enqueue(std::move(message));
}

void CoordinatorLink::SendCheckpoint(const v1::JobKey& attempt, int64_t step, double budget) {
  v1::ProgressRequest message;
  *message.mutable_attempt() = attempt;
  message.set_step(step);
  message.set_budget(budget);
  message.set_checkpointed(true);
  Enqueue(std::move(message));
}

void CoordinatorLink::SayLeaving(const std::string& why) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (session_ == nullptr) return;  // words for the living: nobody needs them later
    v1::ProgressRequest message;
    message.set_leaving(why);
    outbox_.Add(std::move(message));
  }
  changed_.notify_all();
  Flush();
}

void CoordinatorLink::Enqueue(v1::ProgressRequest message) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    heartbeat_.set_step(message.step());
    heartbeat_.set_budget(message.budget());
    if (session_ == nullptr) {
      const bool had_room = !journal_.full();
      OnJournaled(journal_.Add(Named(message)), had_room);
    }
    outbox_.Add(std::move(message));
  }
  changed_.notify_all();
}

v1::ProgressRequest CoordinatorLink::Named(v1::ProgressRequest message) const {
  message.set_worker(worker_);
  message.set_instance(options_.identity.instance);
  return message;
}

void CoordinatorLink::JournalAll() {
  std::vector<v1::ProgressRequest> messages;
  outbox_.ForEach([&](const v1::ProgressRequest& message) { messages.push_back(Named(message)); });
  OnJournaled(journal_.Replace(messages), true);
}

void CoordinatorLink::OnJournaled(const absl::Status& stored, bool had_room) {
  if (!stored.ok())
    log_.Write(LogLevel::kWarning, "points_not_stored", {{"error", std::string(stored.message())}});
  if (had_room && journal_.full()) log_.Write(LogLevel::kWarning, "points_kept_in_memory_only");
}

void CoordinatorLink::Flush() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoMilliseconds(kFlushPatience),
                    [this] { return stopping_ || session_ == nullptr || outbox_.size() == 0; });
}

absl::Duration CoordinatorLink::JobTimeLeft() const {
  return options_.job_time_left ? options_.job_time_left() : absl::InfiniteDuration();
}

double CoordinatorLink::Jitter() {
  jitter_state_ = jitter_state_ * 6364136223846793005ULL + 1442695040888963407ULL;
  return 0.7 + 0.3 * static_cast<double>(jitter_state_ >> 40) / static_cast<double>(1 << 24);
}

void CoordinatorLink::Pause(absl::Duration duration) {
  const absl::Duration until = clock_.Steady() + duration * Jitter();
  const auto before = FileStamp(options_.dir.endpoint());
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_ && clock_.Steady() < until) {
    changed_.wait_for(lock, absl::ToChronoMilliseconds(kEndpointPoll));
    if (FileStamp(options_.dir.endpoint()) != before) return;
  }
}

// Errors that waiting does not mend.
bool CoordinatorLink::IsFinal(const absl::Status& error) {
  // Another host's socket-only endpoint may be what an earlier coordinator left; a Slurm job's own is on its
  // way.
  const std::optional<ErrorDetail> detail = GetErrorDetail(error);
  const bool left_behind = detail.has_value() && detail->code == "E0613";
  if (!left_behind && (error.code() == absl::StatusCode::kFailedPrecondition || absl::IsAborted(error)))
    return true;
  // Before the first session people wait for an answer; later the worker has results to keep.
  return newest_term_ == 0 && clock_.Steady() - started_ > options_.first_wait;
}

absl::StatusOr<std::shared_ptr<CoordinatorSession>> CoordinatorLink::Attach() {
  RUNG_ASSIGN_OR_RETURN(std::shared_ptr<CoordinatorSession> session, Greet(options_.dir, newest_term_));
  if (before_register_) {
    RUNG_RETURN_IF_ERROR(ReplayPoints(*session));
    RUNG_RETURN_IF_ERROR(before_register_(*session));
  }
  before_register_ = nullptr;
  RUNG_RETURN_IF_ERROR(Register(options_.dir, options_.identity, *session));
  newest_term_ = session->term;
  session->generation = ++generations_;
  return session;
}

// In the name of the process that left them, while its leases may still stand.
absl::Status CoordinatorLink::ReplayPoints(const CoordinatorSession& session) {
  if (!left_.has_value()) {
    left_.emplace();  // puts points that belong together into one message
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const v1::ProgressRequest& message : journal_.left()) left_->Add(message);
  }
  left_->StartStream();
  if (!left_->HasUnsent()) return absl::OkStatus();
  grpc::ClientContext context;
  session.Prepare(context, kCallDeadline);
  const auto stream = session.stub->Progress(&context);
  v1::ProgressResponse response;
  int64_t stored = 0;
  while (left_->HasUnsent() && stream->Write(left_->Next({})) && stream->Read(&response)) {
    if (response.command() != v1::COMMAND_LEASE_LOST) ++stored;
    left_->Acknowledge(response.ack());
  }
  stream->WritesDone();
  const absl::Status status = FromWire(stream->Finish());
  log_.Write(LogLevel::kInfo, "points_replayed",
             {{"taken_messages", std::to_string(stored)},
              {"unanswered_messages", std::to_string(left_->size())},
              {"error", std::string(status.message())}});
  if (left_->size() > 0 && status.ok()) return absl::UnavailableError("the stream ended early");
  if (left_->size() > 0 && IsPassing(status)) return status;
  // Once this process has registered nobody takes them any more.
  left_.reset();
  const std::lock_guard<std::mutex> lock(mutex_);
  journal_.Clear();
  return absl::OkStatus();
}

void CoordinatorLink::Loop() {
  absl::Duration backoff = kMinBackoff;
  std::string last_problem;
  const auto stopping = [this] {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stopping_;
  };
  while (!stopping()) {
    absl::StatusOr<std::shared_ptr<CoordinatorSession>> session = Attach();
    if (session.ok()) {
      log_.Write(LogLevel::kInfo, "attached",
                 {{"worker", (*session)->worker}, {"term", std::to_string((*session)->term)}});
      last_problem.clear();
      const absl::Duration held_from = clock_.Steady();
      HoldStream(*session);
      if (stopping()) return;
      log_.Write(LogLevel::kWarning, "detached");
      // A session that breaks at once is answered with patience, one that lasted with haste.
      backoff = clock_.Steady() - held_from > kMaxBackoff ? kMinBackoff : std::min(backoff * 2, kMaxBackoff);
    } else {
      const std::string problem(session.status().message());
      if (problem != last_problem) log_.Write(LogLevel::kWarning, "not_attached", {{"error", problem}});
      last_problem = problem;
      if (IsFinal(session.status())) {
        const std::lock_guard<std::mutex> lock(mutex_);
        final_error_ = session.status();
        changed_.notify_all();
        return;
      }
      backoff = newest_term_ == 0 ? kMinBackoff : std::min(backoff * 2, kMaxBackoff);
    }
    Pause(backoff);
  }
}

void CoordinatorLink::HoldStream(const std::shared_ptr<const CoordinatorSession>& shared) {
  const CoordinatorSession& session = *shared;
  grpc::ClientContext context;
  session.Prepare(context, absl::InfiniteDuration());
  const auto stream = session.stub->Progress(&context);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stream_broken_ = false;
    outbox_.StartStream();
    session_ = shared;
    worker_ = shared->worker;
  }
  changed_.notify_all();
  std::thread reader([&] { ReadStream(session, *stream); });
  WriteStream(session, *stream);
  context.TryCancel();
  reader.join();
  const grpc::Status status = stream->Finish();
  const std::lock_guard<std::mutex> lock(mutex_);
  session_.reset();
  JournalAll();
  if (!stopping_ && !status.error_message().empty()) {
    log_.Write(LogLevel::kWarning, "stream_ended", {{"error", status.error_message()}});
  }
}

void CoordinatorLink::ReadStream(
    const CoordinatorSession& session,
    grpc::ClientReaderWriter<v1::ProgressRequest, v1::ProgressResponse>& stream) {
  v1::ProgressResponse response;
  while (stream.Read(&response)) {
    if (!session.CheckTerm(response.term()).ok()) break;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      outbox_.Acknowledge(response.ack());
      if (outbox_.size() == 0) journal_.Clear();
    }
    changed_.notify_all();
    sink_(response);
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stream_broken_ = true;
  }
  changed_.notify_all();
}

void CoordinatorLink::WriteStream(
    const CoordinatorSession& session,
    grpc::ClientReaderWriter<v1::ProgressRequest, v1::ProgressResponse>& stream) {
  const double seconds = session.heartbeat_seconds > 0 ? session.heartbeat_seconds : kDefaultHeartbeatSeconds;
  const absl::Duration interval = absl::Seconds(std::max(seconds, kMinHeartbeatSeconds));
  absl::Duration next_heartbeat = clock_.Steady();  // the first one re-attaches a running attempt at once
  while (true) {
    v1::ProgressRequest message;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      const absl::Duration wait = std::max(next_heartbeat - clock_.Steady(), absl::ZeroDuration());
      changed_.wait_for(lock, absl::ToChronoMilliseconds(wait),
                        [this] { return stopping_ || stream_broken_ || outbox_.HasUnsent(); });
      if (stopping_ || stream_broken_) return;
      if (!outbox_.HasUnsent() && clock_.Steady() < next_heartbeat) continue;
      message = outbox_.Next(heartbeat_);
    }
    message.set_worker(session.worker);
    message.set_instance(options_.identity.instance);
    if (const absl::Duration left = JobTimeLeft(); left != absl::InfiniteDuration())
      message.set_job_seconds_left(std::max(absl::ToDoubleSeconds(left), kLeastSecondsLeft));
    if (!stream.Write(message)) return;
    next_heartbeat = clock_.Steady() + interval * Jitter();
  }
}

}  // namespace rung
