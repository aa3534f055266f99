#include "coordinator/core_loop.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <utility>

#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "base/file.h"
#include "base/status.h"
#include "coordinator/state_directory.h"
#include "proto/process_identity.h"
#include "storage/schema.h"

namespace rung {
namespace {

// What the callers hear after a failure: the same words, but as "try again", since the store holds all that
// was answered.
absl::Status AsUnavailable(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  if (!detail.has_value()) return absl::UnavailableError(std::string(status.message()));
  return MakeError(absl::StatusCode::kUnavailable, *detail);
}

}  // namespace

DirectoryRemover::~DirectoryRemover() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    end_ = clock_.Steady() + kEndPatience;
  }
  wake_.notify_all();
  thread_.join();
}

// A trainer may plant links where checkpoints are kept; what such a link leads to is not ours to remove. The
// links above the study's own directory are their owner's affair.
bool DirectoryRemover::ReachedOverLink(const std::string& path) {
  std::error_code error;
  for (std::filesystem::path part = std::filesystem::path(path).parent_path();
       part.has_relative_path() && part.filename() != "studies"; part = part.parent_path()) {
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(part, error))) return true;
  }
  return false;
}

void DirectoryRemover::Remove(std::string path) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    paths_.push_back(std::move(path));
  }
  wake_.notify_all();
}

void DirectoryRemover::Loop() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (true) {
    wake_.wait(guard, [this] { return !paths_.empty() || end_ != absl::InfiniteDuration(); });
    if (paths_.empty()) return;
    if (clock_.Steady() > end_) {
      log_.Write(LogLevel::kWarning, "checkpoints_not_removed", {{"count", std::to_string(paths_.size())}});
      return;
    }
    const std::string path = std::move(paths_.front());
    paths_.pop_front();
    guard.unlock();
    if (ReachedOverLink(path)) {
      log_.Write(LogLevel::kWarning, "checkpoint_behind_link_kept", {{"path", path}});
    } else {
      std::error_code error;
      std::filesystem::remove_all(path, error);
    }
    guard.lock();
  }
}

CoreLoop::CoreLoop(Core core, std::unique_ptr<StudyStore> store, StateLock* lock, Clock& clock, Log& log)
    : core_(std::move(core)), store_(std::move(store)), lock_(lock), clock_(clock), log_(log) {
  NoteCall();
}

CoreLoop::~CoreLoop() {
  Stop();
}

void CoreLoop::Start(OnPush on_push, std::function<void()> on_failure) {
  on_push_ = std::move(on_push);
  on_failure_ = std::move(on_failure);
  core_.Start(now());
  remover_.emplace(clock_, log_);
  if (!core_.options().offline) RemoveLeftOver();
  thread_ = std::thread([this] { Loop(); });
}

// An earlier coordinator may have died between a commit and the removal of what it made needless.
void CoreLoop::RemoveLeftOver() {
  RemoveOldTemporaries(core_.options().dir);
  for (const auto& [id, entry] : core_.studies()) {
    std::error_code error;
    const std::filesystem::directory_iterator end;
    std::filesystem::directory_iterator it(core_.options().dir.study(id.value) + "/checkpoints", error);
    for (; !error && it != end; it.increment(error)) {
      int64_t trial = 0;
      if (!absl::SimpleAtoi(it->path().filename().string(), &trial)) continue;
      for (std::string& path : core_.ObsoleteOf(id, TrialId{trial})) remover_->Remove(std::move(path));
    }
  }
}

void CoreLoop::Stop() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  remover_.reset();
}

int64_t CoreLoop::Submit(decltype(Command::body) body, Callback callback) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!stopping_) {
      const int64_t ticket = next_ticket_++;
      queue_.push_back({Command{callback ? ticket : 0, std::move(body)}, std::move(callback), nullptr});
      wake_.notify_one();
      return ticket;
    }
  }
  if (callback) callback(StoppedError(), "");
  return 0;
}

bool CoreLoop::Post(Task task) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (stopping_) return false;
  queue_.push_back({Command{}, nullptr, std::move(task)});
  wake_.notify_one();
  return true;
}

bool CoreLoop::Run(const Task& task) {
  std::promise<void> done;
  const bool posted = Post([&](const Core& core, StudyStore& store) {
    task(core, store);
    done.set_value();
  });
  if (posted) done.get_future().wait();
  return posted;
}

absl::Status CoreLoop::failure() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return failure_;
}

absl::Status CoreLoop::StoppedError() {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0643", "the coordinator is ending", "", "", "Try again when it runs again"});
}

absl::Status CoreLoop::unavailable() const {
  const absl::Status status = failure();
  return status.ok() ? status : AsUnavailable(status);
}

absl::Duration CoreLoop::last_call() const {
  return absl::Milliseconds(last_call_.load());
}

std::vector<CoreLoop::Item> CoreLoop::NextGroup() {
  std::unique_lock<std::mutex> guard(mutex_);
  wake_.wait_for(guard, absl::ToChronoMilliseconds(kTick), [this] { return !queue_.empty() || stopping_; });
  const size_t size = std::min(queue_.size(), kGroup);
  const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(size);
  std::vector<Item> group(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
  queue_.erase(queue_.begin(), end);
  return group;
}

void CoreLoop::Loop() {
  while (true) {
    std::vector<Item> group = NextGroup();
    if (group.empty()) {
      const std::lock_guard<std::mutex> guard(mutex_);
      if (stopping_ && queue_.empty()) break;
    }
    RunGroup(std::move(group));
    if (clock_.Steady() - ticked_ >= kTick) Tick();
  }
  status_due_ = true;
  if (failure().ok()) WriteStatus();
  for (auto& [ticket, callback] : callbacks_) callback(StoppedError(), "");
  callbacks_.clear();
}

void CoreLoop::RunGroup(std::vector<Item> group) {
  absl::Status failed = failure();
  for (Item& item : group) {
    if (item.task) continue;
    if (!failed.ok()) {
      if (item.callback) item.callback(AsUnavailable(failed), "");
      continue;
    }
    if (item.callback) callbacks_[item.command.ticket] = std::move(item.callback);
    if (const auto* cancelled = std::get_if<CallCancelled>(&item.command.body))
      callbacks_.erase(cancelled->ticket);
    core_.Apply(item.command, now());
    ++figures_.calls;
  }
  if (failed.ok()) {
    core_.Settle(now());
    const Effects effects = core_.Take();
    failed = Commit(effects.batch);
    if (failed.ok()) {
      Finish(effects);
    } else {
      Fail(failed);
    }
  }
  for (Item& item : group) {
    if (item.task) item.task(core_, *store_);
  }
}

absl::Status CoreLoop::CheckLock() const {
  return lock_ == nullptr ? absl::OkStatus() : lock_->Check();
}

absl::Status CoreLoop::Commit(const Batch& batch) {
  if (batch.empty()) return absl::OkStatus();
  RUNG_RETURN_IF_ERROR(CheckLock());
  const absl::Duration begin = clock_.Steady();
  RUNG_RETURN_IF_ERROR(store_->Append(batch));
  figures_.commits.Add(clock_.Steady() - begin);
  return lock_ == nullptr ? absl::OkStatus() : lock_->CheckNewest();
}

void CoreLoop::Finish(const Effects& effects) {
  for (const StudyId id : effects.created) {
    const StudyRecord& record = core_.studies().at(id).record;
    const absl::Status made = PrepareStudyDirectory(core_.options().dir, id.value, record.canonical_json);
    if (!made.ok()) {
      log_.Write(LogLevel::kError, "study_directory_failed", {{"error", std::string(made.message())}});
    }
  }
  for (const StoredEvent& stored : effects.batch.events) {
    status_due_ = status_due_ || stored.event.kind == EventKind::kStudyState;
    log_.Write(LogLevel::kInfo, Name(stored.event.kind),
               {{"study", std::to_string(stored.study.value)},
                {"trial", std::to_string(stored.event.job.trial.value)},
                {"rung", std::to_string(stored.event.job.rung)},
                {"replicate", std::to_string(stored.event.job.replicate)},
                {"attempt", std::to_string(stored.event.attempt)},
                {"worker", stored.event.worker},
                {"message", stored.event.message}});
  }
  status_due_ = status_due_ || !effects.created.empty();
  // The study's end is in status.json before anybody hears of it and comes to look.
  if (status_due_) WriteStatus();
  for (const Reply& reply : effects.replies) {
    const auto found = callbacks_.find(reply.ticket);
    if (found == callbacks_.end()) continue;
    const Callback callback = std::move(found->second);
    callbacks_.erase(found);
    callback(reply.status, reply.bytes);
  }
  for (const Push& push : effects.pushes) {
    if (on_push_) on_push_(push);
  }
  for (const std::string& path : effects.obsolete) {
    remover_->Remove(path);
  }
}

void CoreLoop::Fail(const absl::Status& status) {
  log_.Write(LogLevel::kError, "stopped_acknowledging", {{"error", std::string(status.message())}});
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    failure_ = status;
  }
  if (on_failure_) on_failure_();
  for (auto& [ticket, callback] : callbacks_) callback(AsUnavailable(status), "");
  callbacks_.clear();
}

void CoreLoop::Tick() {
  ticked_ = clock_.Steady();
  if (!failure().ok()) return;
  if (lock_ != nullptr) {
    if (const absl::Status renewed = lock_->Renew(); !renewed.ok()) return Fail(renewed);
  }
  for (const WorkerRecord& suspect : core_.Suspects(now())) {
    const ProcessIdentity process{suspect.host, suspect.boot_id, suspect.pid, suspect.start_time};
    if (!ProvedDead(process)) continue;
    log_.Write(LogLevel::kWarning, "worker_proved_dead", {{"worker", suspect.name}});
    Submit(ProcessGone{suspect.name, suspect.instance}, nullptr);
  }
  if (clock_.Steady() - status_written_ >= kStatusEvery) WriteStatus();
}

void CoreLoop::WriteStatus() {
  status_written_ = clock_.Steady();
  status_due_ = false;
  google::protobuf::util::JsonPrintOptions print;
  print.preserve_proto_field_names = true;
  nlohmann::ordered_json json;
  json["schema"] = 1;
  json["written_at"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", clock_.Now(), absl::UTCTimeZone());
  json["term"] = core_.options().term;
  json["build"] = core_.options().build;
  json["database_schema"] = kSchemaVersion;
  json["studies"] = nlohmann::ordered_json::array();
  for (const auto& [id, entry] : core_.studies()) {
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(core_.StatusOf(entry), &text, print).ok()) continue;
    json["studies"].push_back(nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false));
  }
  const absl::Status written = WriteFileAtomic(core_.options().dir.status(), json.dump(2) + "\n");
  if (!written.ok())
    log_.Write(LogLevel::kWarning, "status_not_written", {{"error", std::string(written.message())}});
}

}  // namespace rung
