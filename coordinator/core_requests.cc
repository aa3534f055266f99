// Registration, studies and the rest of what people and processes ask of the core.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "coordinator/core.h"
#include "coordinator/payload.h"
#include "proto/wire.h"
#include "search/same_name.h"

namespace rung {
namespace {

constexpr size_t kMaxWorkerName = 128;

// HOST-SLOT as a name that is safe in paths.
std::string WorkerName(const std::string& host, const std::string& slot) {
  std::string name = host + "-" + slot;
  for (char& c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') c = '_';
  }
  if (name[0] == '.') name[0] = '_';
  return name.substr(0, kMaxWorkerName);
}

std::string SourceOf(const v1::CreateStudyRequest& request) {
  return request.source_path().empty() ? "study" : request.source_path();
}

}  // namespace

WorkerState* Core::Current(const std::string& worker, const std::string& instance) {
  const auto found = workers_.find(worker);
  if (found == workers_.end() || found->second.record.instance != instance) return nullptr;
  found->second.present =
      true;  // after a restart of the coordinator a worker goes on without registering again
  return &found->second;
}

void Core::On(int64_t ticket, const v1::RegisterRequest& request, const Now& now) {
  if (request.slot().empty() || request.instance().empty() || request.process().host().empty()) {
    return Refuse(ticket, MakeError(absl::StatusCode::kInvalidArgument,
                                    {"E0655", "a worker registers with its host, slot and instance", "",
                                     request.slot(), "Name all three"}));
  }
  if (request.state_dir_nonce() != options_.nonce) {
    return Refuse(
        ticket, MakeError(absl::StatusCode::kFailedPrecondition,
                          {"E0654",
                           absl::StrFormat("the worker on %s does not see the coordinator's state directory",
                                           request.process().host()),
                           options_.dir.root, request.process().host(),
                           "Put the directory on a file system that all hosts share"}));
  }
  WorkerRecord record{WorkerName(request.process().host(), request.slot()),
                      request.slot(),
                      request.instance(),
                      request.process().host(),
                      request.process().boot_id(),
                      request.process().pid(),
                      request.process().start_time(),
                      request.device(),
                      request.slurm_job(),
                      /*sent_home=*/""};
  WorkerState& worker = workers_[record.name];
  if (worker.record.instance != record.instance) {
    // The same slot with a new process: the old one is gone, and so are its leases.
    if (!worker.record.name.empty())
      LoseWorker(worker, "its process was replaced by another in its slot", now);
    worker = WorkerState{};
    worker.record = record;
    effects_.batch.workers.push_back(record);
    // Slurm runs a task once at a time: where it started again on another node, the process before is gone.
    for (auto& [name, other] : workers_) {
      const bool same_task = !record.slurm_job.empty() && other.record.slurm_job == record.slurm_job &&
                             other.record.slot == record.slot;
      if (same_task && name != record.name) LoseWorker(other, "its task runs again on another node", now);
    }
  }
  worker.heard = now.steady;
  worker.present = true;
  worker.lost = false;
  v1::RegisterResponse response;
  response.set_worker(record.name);
  response.set_term(options_.term);
  Answer(ticket, response);
}

absl::StatusOr<NewStudy> ReadStudy(const v1::CreateStudyRequest& request) {
  RUNG_ASSIGN_OR_RETURN(StudySpec spec, StudySpec::Parse(request.canonical_json(), SourceOf(request), "/"));
  return NewStudy{request, std::move(spec)};
}

void Core::On(int64_t ticket, const v1::CreateStudyRequest& request, const Now& now) {
  const absl::StatusOr<NewStudy> wanted = ReadStudy(request);
  if (!wanted.ok()) return Refuse(ticket, wanted.status());
  On(ticket, *wanted, now);
}

void Core::On(int64_t ticket, const NewStudy& wanted, const Now& now) {
  const v1::CreateStudyRequest& request = wanted.request;
  const StudySpec& spec = wanted.spec;
  const std::string sha256 = PayloadSha256(request);
  if (Repeated(ticket, request, sha256)) return;
  const std::string canonical = spec.CanonicalJson();
  v1::CreateStudyResponse response;
  const auto same_name = std::find_if(studies_.begin(), studies_.end(),
                                      [&](const auto& item) { return item.second.record.name == spec.name; });
  if (same_name != studies_.end()) {
    const StudyEntry& entry = same_name->second;
    if (request.resume_if_same() && entry.record.canonical_json == canonical) {
      *response.mutable_study() = StatusOf(entry);
      return Answer(ticket, response);
    }
    return Refuse(ticket, NameTaken(spec.name, SourceOf(request), entry.record.canonical_json, canonical));
  }
  StudyRecord record;
  record.id = StudyId{studies_.empty() ? 1 : studies_.rbegin()->first.value + 1};
  record.canonical_json = canonical;
  record.name = spec.name;
  record.inputs = {request.inputs().begin(), request.inputs().end()};
  record.data_sha256 = {request.data_sha256().begin(), request.data_sha256().end()};
  record.created_at = StampOf(now).at;
  effects_.batch.studies.push_back(record);
  effects_.created.push_back(record.id);
  Study study(record.id, spec, record.data_sha256);
  const StudyId id = record.id;
  const auto [entry, added] = studies_.emplace(
      id, StudyEntry{std::move(record), std::move(study), absl::InfinitePast(), now.steady, 0, 0, TrialId{}});
  RUNG_CHECK(added, "a new id");
  changed_ = true;
  response.set_created(true);
  response.mutable_study()->set_id(id.value);
  Remember(request.request_id(), sha256, response.SerializeAsString());
  *response.mutable_study() = StatusOf(entry->second);
  Answer(ticket, response);
}

void Core::AnswerStored(int64_t ticket, const v1::CreateStudyRequest&, const std::string& answer) {
  v1::CreateStudyResponse response;
  RUNG_CHECK(response.ParseFromString(answer), "a stored answer is readable");
  *response.mutable_study() = StatusOf(studies_.at(StudyId{response.study().id()}));
  Answer(ticket, response);
}

void Core::On(int64_t ticket, const v1::SetStudyStateRequest& request, const Now& now) {
  const std::string sha256 = PayloadSha256(request);
  if (Repeated(ticket, request, sha256)) return;
  const absl::StatusOr<const StudyEntry*> found = FindStudy(request.study());
  if (!found.ok()) return Refuse(ticket, found.status());
  StudyEntry& entry = studies_.at((*found)->record.id);
  for (const StudyState wanted : {StudyState::kRunning, StudyState::kPaused, StudyState::kStopping}) {
    if (request.wanted() != Name(wanted)) continue;
    absl::StatusOr<std::vector<Event>> events = entry.study.OnRequest(wanted, "on request", StampOf(now));
    if (!events.ok()) return Refuse(ticket, events.status());
    const bool paused = wanted == StudyState::kPaused && !events->empty();
    Record(entry, *std::move(events));
    if (paused) AskForCheckpoints(entry.record.id);
    v1::StudyStatus stored;  // names the study only: a repeated request hears how it is then
    stored.set_id(entry.record.id.value);
    Remember(request.request_id(), sha256, stored.SerializeAsString());
    return Answer(ticket, StatusOf(entry));
  }
  Refuse(ticket, MakeError(absl::StatusCode::kInvalidArgument,
                           {"E0622", absl::StrFormat("a study cannot be asked to be %s", request.wanted()),
                            "", request.wanted(), "Ask for running, paused or stopping"}));
}

void Core::AnswerStored(int64_t ticket, const v1::SetStudyStateRequest&, const std::string& answer) {
  v1::StudyStatus stored;
  RUNG_CHECK(stored.ParseFromString(answer), "a stored answer is readable");
  Answer(ticket, StatusOf(studies_.at(StudyId{stored.id()})));
}

void Core::On(int64_t ticket, const v1::GetStudyRequest& request, const Now& now) {
  const absl::StatusOr<const StudyEntry*> found = FindStudy(request.study());
  if (!found.ok()) return Refuse(ticket, found.status());
  const double seconds = std::clamp(request.wait_seconds(), 0.0, kMaxWaitSeconds);
  watching_.push_back({ticket, now.steady + absl::Seconds(request.after_version() > 0 ? seconds : 0), "", "",
                       (*found)->record.id, request.after_version() > 0 ? request.after_version() : -1});
}

void Core::On(int64_t ticket, const v1::WorkerGoneRequest& request, const Now& now) {
  const auto found = workers_.find(WorkerName(request.host(), request.slot()));
  if (found != workers_.end()) {
    WorkerState& worker = found->second;
    const bool same = request.instance().empty() ? worker.record.pid == request.pid()
                                                 : worker.record.instance == request.instance();
    if (same) LoseWorker(worker, "its process was reaped by its parent", now);
  }
  Answer(ticket, v1::WorkerGoneResponse());
}

void Core::On(int64_t ticket, const v1::EndWorkerRequest& request, const Now& now) {
  const auto found = workers_.find(request.worker());
  if (found == workers_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, worker] : workers_) names.push_back(name);
    const std::string closest = ClosestName(request.worker(), names);
    return Refuse(
        ticket,
        MakeError(absl::StatusCode::kNotFound,
                  {"E0625", absl::StrFormat("there is no worker %s", request.worker()), "", request.worker(),
                   closest.empty() ? "See their names with: rung worker list" : "Did you mean " + closest}));
  }
  v1::EndWorkerResponse response;
  WorkerRecord& record = found->second.record;
  record.sent_home = request.evict() ? "evicted on request" : "told to leave";
  effects_.batch.workers.push_back(record);
  changed_ = true;
  if (const Lease* lease = leases_.OfWorker(request.worker()); lease != nullptr) {
    *response.mutable_attempt() = ToWire(lease->key);
    if (request.evict()) {
      PushCommand(*lease, v1::COMMAND_LEASE_LOST);
      Lose(*lease, "its worker was evicted", now);
    }
  }
  Answer(ticket, response);
}

bool Core::Leaves(const std::string& worker) const {
  const auto found = workers_.find(worker);
  return draining_ || (found != workers_.end() && !found->second.record.sent_home.empty());
}

void Core::On(int64_t, const StreamOpened& opened, const Now& now) {
  WorkerState* worker = Current(opened.worker, opened.instance);
  if (worker == nullptr) return;
  ++worker->streams;
  worker->heard = now.steady;
}

void Core::On(int64_t, const StreamClosed& closed, const Now&) {
  const auto worker = workers_.find(closed.worker);
  if (worker == workers_.end() || worker->second.record.instance != closed.instance) return;
  if (worker->second.streams > 0) --worker->second.streams;
  // Without a lease nobody looks for a proof of its death: it is there again as soon as it says something.
  if (worker->second.streams == 0 && leases_.OfWorker(closed.worker) == nullptr)
    worker->second.present = false;
}

void Core::On(int64_t, const CallCancelled& cancelled, const Now&) {
  const auto is_it = [&](const Waiting& call) { return call.ticket == cancelled.ticket; };
  waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), is_it), waiting_.end());
  watching_.erase(std::remove_if(watching_.begin(), watching_.end(), is_it), watching_.end());
}

void Core::On(int64_t, const ProcessGone& gone, const Now& now) {
  const auto worker = workers_.find(gone.worker);
  if (worker == workers_.end() || worker->second.record.instance != gone.instance) return;
  LoseWorker(worker->second, "its process is gone from its host", now);
}

void Core::On(int64_t, const DrainAll&, const Now&) {
  draining_ = true;
  changed_ = true;
}

absl::Status Core::NotRegistered(const std::string& worker, const std::string& instance) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"E0652", absl::StrFormat("worker %s is not registered with this instance", worker), "",
                    instance, "Register again"});
}

absl::Status Core::OtherPayload(const std::string& request_id) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0651", "a request with this id and another content was answered before", "", request_id,
                    "Give every new request an id of its own"});
}

void Core::Remember(const std::string& request_id, const std::string& sha256, std::string answer) {
  if (request_id.empty()) return;
  RequestRecord record{request_id, sha256, std::move(answer)};
  effects_.batch.requests.push_back(record);
  effects_.batch.keep_requests = options_.max_requests;
  requests_[request_id] = std::move(record);
  request_order_.push_back(request_id);
  if (request_order_.size() <= static_cast<size_t>(options_.max_requests)) return;
  requests_.erase(request_order_.front());
  request_order_.pop_front();
}

}  // namespace rung
