#include "coordinator/core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "proto/wire.h"

namespace rung {
namespace {

bool OnlyReads(const Command& command) {
  return std::holds_alternative<v1::GetStudyRequest>(command.body) ||
         std::holds_alternative<CallCancelled>(command.body) ||
         std::holds_alternative<DrainAll>(command.body);
}

}  // namespace

Core::Core(CoreOptions options) : options_(std::move(options)) {}

// Unavailable: workers and commands try again, and find the coordinator that follows.
absl::Status Core::OfflineError() {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0620", "this coordinator only reads: it was started for a look at the directory", "",
                    "", "Try again in a moment"});
}

absl::Status Core::LoadStudy(StudyRecord record) {
  RUNG_ASSIGN_OR_RETURN(StudySpec spec, StudySpec::Parse(record.canonical_json, "study " + record.name, "/"));
  const StudyId id = record.id;
  Study study(id, std::move(spec), record.data_sha256);
  const double active = record.active_seconds, idle = record.idle_seconds;
  studies_.emplace(id, StudyEntry{std::move(record), std::move(study), absl::InfinitePast(),
                                  absl::ZeroDuration(), active, idle, TrialId{}});
  return absl::OkStatus();
}

absl::Status Core::LoadEvent(StudyId study, const Event& event) {
  const auto entry = studies_.find(study);
  RUNG_CHECK(entry != studies_.end(), "the store's foreign key");
  entry->second.study.Apply(event);
  if (event.kind == EventKind::kAttemptGranted) {
    Lease& lease = leases_.Add(MakeLease(entry->second, event.job, event.attempt, event.worker));
    lease.granted_at = event.at;
    lease.outlived = true;
  }
  if (event.kind == EventKind::kCheckpoint) {
    Lease* lease = leases_.Find(study, event.job);  // none where a lost attempt came back with its result
    if (lease != nullptr) lease->checkpointed_at = event.at;
  }
  Index(entry->second, event);
  NoteIncumbent(entry->second);
  next_seq_ = std::max(next_seq_, event.seq + 1);
  return absl::OkStatus();
}

void Core::LoadWorker(WorkerRecord record) {
  WorkerState& worker = workers_[record.name];
  worker.record = std::move(record);
}

void Core::LoadRequest(RequestRecord record) {
  request_order_.push_back(record.request_id);
  requests_[record.request_id] = std::move(record);
}

void Core::Start(const Now& now) {
  for (auto& [key, lease] : leases_.all()) {
    lease.renewed = now.steady;
    lease.began = now.steady - std::max(lease.checkpointed_at - lease.granted_at, absl::ZeroDuration());
    leases_.Identify(lease, studies_.at(key.first).study.Identity(key.second));
  }
  for (auto& [name, worker] : workers_) worker.heard = now.steady;
  for (auto& [id, entry] : studies_) entry.active_marked = now.steady;
  idle_marked_ = now.steady;
}

void Core::Apply(const Command& command, const Now& now) {
  if (options_.offline && !OnlyReads(command)) return Refuse(command.ticket, OfflineError());
  std::visit([&](const auto& body) { On(command.ticket, body, now); }, command.body);
}

void Core::Settle(const Now& now) {
  if (!options_.offline) {  // its leases are what a dead coordinator granted: not its to end
    SettleActiveTime(now);
    SettleIdleTime(now);
    SettleLeases(now);
  }
  SettleWaiting(now);
  SettleWatchers(now);
  changed_ = false;
}

void Core::StoreTimes(StudyEntry& entry) {
  const StudyRecord& record = entry.record;
  if (entry.active_stored != record.active_seconds)
    effects_.batch.active_seconds[record.id] = record.active_seconds;
  if (entry.idle_stored != record.idle_seconds) effects_.batch.idle_seconds[record.id] = record.idle_seconds;
  entry.active_stored = record.active_seconds;
  entry.idle_stored = record.idle_seconds;
}

Effects Core::Take() {
  RUNG_CHECK(!options_.offline || effects_.batch.empty(), "an offline coordinator changes nothing");
  // With every event, so that a crash costs the clock of a wall_time rule no more than the time since the
  // last one.
  StudyId last;
  for (const StoredEvent& stored : effects_.batch.events) {
    if (stored.study != last) StoreTimes(studies_.at(stored.study));
    last = stored.study;
  }
  return std::exchange(effects_, Effects{});
}

std::vector<WorkerRecord> Core::Suspects(const Now& now) const {
  std::vector<WorkerRecord> suspects;
  if (options_.offline) return suspects;
  for (const auto& [key, lease] : leases_.all()) {
    const auto worker = workers_.find(lease.worker);
    if (worker == workers_.end()) continue;
    const bool silent = now.steady - lease.renewed > options_.lease_ttl;
    if (worker->second.streams == 0 || silent) suspects.push_back(worker->second.record);
  }
  return suspects;
}

bool Core::AllFinished() const {
  return !studies_.empty() && std::all_of(studies_.begin(), studies_.end(), [](const auto& item) {
    return IsFinished(item.second.study.state());
  });
}

bool Core::WorkersTold() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& item) { return !item.second.present || item.second.told_done; });
}

bool Core::HasWorkers() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const auto& item) { return item.second.present; });
}

absl::StatusOr<const StudyEntry*> Core::FindStudy(const v1::StudyRef& ref) const {
  if (ref.id() == 0 && ref.name().empty()) {
    if (studies_.size() == 1) return &studies_.begin()->second;
    if (studies_.empty()) {
      return MakeError(absl::StatusCode::kNotFound,
                       {"E0621", "there is no study in this directory", options_.dir.root, "",
                        "Make one with: rung study create STUDY.json"});
    }
    return MakeError(absl::StatusCode::kNotFound, {"E0621", "there are several studies, and none was named",
                                                   options_.dir.root, "", "Name one of: rung study list"});
  }
  std::vector<std::string> names;
  for (const auto& [id, entry] : studies_) {
    if (ref.id() != 0 ? id.value == ref.id() : entry.record.name == ref.name()) return &entry;
    names.push_back(entry.record.name);
  }
  const std::string wanted = ref.id() != 0 ? absl::StrFormat("%d", ref.id()) : ref.name();
  const std::string closest = ref.id() != 0 ? "" : ClosestName(wanted, names);
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0621", absl::StrFormat("there is no study %s", wanted), options_.dir.root, wanted,
                    closest.empty() ? "See the names with: rung study list" : "Did you mean " + closest});
}

v1::StudyStatus Core::StatusOf(const StudyEntry& entry) const {
  v1::StudyStatus status = ToWire(entry.study);
  status.set_created_at_ms(absl::ToUnixMillis(entry.record.created_at));
  if (entry.finished_at != absl::InfinitePast())
    status.set_finished_at_ms(absl::ToUnixMillis(entry.finished_at));
  status.set_active_seconds(entry.record.active_seconds);
  status.set_idle_seconds(entry.record.idle_seconds);
  double running = 0;  // up to the time up to which idle seconds count
  for (const auto& [key, lease] : leases_.all()) {
    if (key.first != entry.record.id) continue;
    running += absl::ToDoubleSeconds(std::max(idle_marked_ - lease.began, absl::ZeroDuration()));
  }
  status.set_running_seconds(running);
  for (const auto& [name, path] : entry.record.inputs) (*status.mutable_inputs())[name] = path;
  return status;
}

void Core::SettleActiveTime(const Now& now) {
  for (auto& [id, entry] : studies_) {
    const absl::Duration passed = now.steady - entry.active_marked;
    if (entry.study.state() != StudyState::kRunning) {
      entry.active_marked = now.steady;
      continue;
    }
    if (passed < absl::Seconds(1)) continue;
    entry.active_marked = now.steady;
    entry.record.active_seconds += absl::ToDoubleSeconds(passed);
    Record(entry, entry.study.OnActiveTime(absl::Seconds(entry.record.active_seconds), StampOf(now)));
    if (entry.record.active_seconds - entry.active_stored >= absl::ToDoubleSeconds(kTimesStoreEvery))
      StoreTimes(entry);
  }
}

// A worker without an attempt waits for every study that still may give it one.
void Core::SettleIdleTime(const Now& now) {
  const absl::Duration passed = now.steady - idle_marked_;
  if (passed < absl::Seconds(1)) return;
  idle_marked_ = now.steady;
  const auto idle =
      static_cast<double>(std::count_if(workers_.begin(), workers_.end(), [&](const auto& item) {
        return item.second.present && leases_.OfWorker(item.first) == nullptr;
      }));
  if (idle == 0) return;
  for (auto& [id, entry] : studies_) {
    if (IsFinished(entry.study.state())) continue;
    entry.record.idle_seconds += idle * absl::ToDoubleSeconds(passed);
    if (entry.record.idle_seconds - entry.idle_stored >= idle * absl::ToDoubleSeconds(kTimesStoreEvery))
      StoreTimes(entry);
  }
}

void Core::SettleWatchers(const Now& now) {
  std::vector<Waiting> still;
  for (Waiting& watcher : watching_) {
    const StudyEntry& entry = studies_.at(watcher.study);
    if (entry.study.last_seq() <= watcher.after_version && now.steady < watcher.until && !draining_) {
      still.push_back(std::move(watcher));
      continue;
    }
    Answer(watcher.ticket, StatusOf(entry));
  }
  watching_ = std::move(still);
}

void Core::Refuse(int64_t ticket, absl::Status status) {
  if (ticket != 0) effects_.replies.push_back({ticket, std::move(status), ""});
}

}  // namespace rung
