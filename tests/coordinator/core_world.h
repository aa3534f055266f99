// The coordinator's core in a world of its own, for tests.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "coordinator/core.h"
#include "proto/wire.h"
#include "tests/coordinator/demo_study.h"

namespace rung {

// A core with its own time; keeps every stored row, so that a second core can be made from them.
class World {
 public:
  World() : core_(Options()) { core_.Start(now_); }

  static CoreOptions Options() {
    CoreOptions options;
    options.dir = StateDir{"/state"};
    options.nonce = "nonce";
    options.term = 4;
    options.lease_ttl = absl::Seconds(60);
    return options;
  }

  // The answer of a call that does not wait.
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const Request& request) {
    const int64_t ticket = Send(request);
    RUNG_RETURN_IF_ERROR(statuses_.contains(ticket) ? statuses_[ticket] : absl::UnavailableError("waits"));
    Response response;
    REQUIRE(response.ParseFromString(answers_[ticket]));
    return response;
  }
  template <typename Body>
  int64_t Send(const Body& body) {
    const int64_t ticket = ++ticket_;
    core_.Apply(Command{ticket, body}, now_);
    Settle();
    return ticket;
  }
  void Settle() {
    core_.Settle(now_);
    Effects effects = core_.Take();
    for (const StudyRecord& record : effects.batch.studies) studies_.push_back(record);
    for (const StoredEvent& event : effects.batch.events) events_.push_back(event);
    for (const WorkerRecord& record : effects.batch.workers) workers_.push_back(record);
    for (const RequestRecord& record : effects.batch.requests) requests_.push_back(record);
    for (const auto& [study, seconds] : effects.batch.active_seconds) active_[study] = seconds;
    for (StudyRecord& record : studies_) {
      const auto idle = effects.batch.idle_seconds.find(record.id);
      if (idle != effects.batch.idle_seconds.end()) record.idle_seconds = idle->second;
    }
    if (effects.batch.keep_requests > 0) keep_requests_ = effects.batch.keep_requests;
    for (const MetricPoint& point : effects.batch.points) points_.push_back(point);
    for (const Push& push : effects.pushes) pushes_.push_back(push);
    for (const std::string& path : effects.obsolete) obsolete_.insert(path);
    for (const Reply& reply : effects.replies) {
      statuses_[reply.ticket] = reply.status;
      answers_[reply.ticket] = reply.bytes;
    }
  }
  void Pass(absl::Duration time) {
    now_.steady += time;
    now_.wall += time;
    Settle();
  }
  void Restart(bool offline = false) {
    CoreOptions options = Options();
    options.offline = offline;
    core_ = Core(std::move(options));
    for (const StudyRecord& record : studies_) REQUIRE(core_.LoadStudy(record).ok());
    for (const StoredEvent& stored : events_) REQUIRE(core_.LoadEvent(stored.study, stored.event).ok());
    for (const WorkerRecord& record : workers_) core_.LoadWorker(record);
    for (const RequestRecord& record : requests_) core_.LoadRequest(record);
    core_.Start(now_);
  }

  void Create(const std::string& text = kStudy) {
    v1::CreateStudyRequest request;
    request.set_canonical_json(text);
    (*request.mutable_data_sha256())["/train.py"] = "9f86";  // without any no result is ever copied
    REQUIRE(Call<v1::CreateStudyResponse>(request).ok());
  }
  void Ask(const std::string& wanted, const std::string& id = "", const std::string& study = "") {
    v1::SetStudyStateRequest request;
    request.set_wanted(wanted);
    request.set_request_id(id);
    request.mutable_study()->set_name(study);
    REQUIRE(Call<v1::StudyStatus>(request).ok());
  }
  // Reports `score` for whatever is next, until there is nothing to do; each with what it resumes from.
  std::vector<v1::Attempt> Finish(const std::function<double(const v1::Attempt&)>& score) {
    std::vector<v1::Attempt> attempts;
    while (!core_.AllFinished()) {
      REQUIRE(attempts.size() < 200);
      const auto response = Call<v1::LeaseResponse>(LeaseOf("0", "a"));
      REQUIRE(response.ok());
      if (!response->has_attempt()) {
        CHECK(core_.AllFinished());
        break;
      }
      const v1::Attempt& attempt = response->attempt();
      CHECK((attempt.resume_dir().empty() || OnDisk(attempt.resume_dir())));
      REQUIRE(
          Call<v1::ReportResponse>(ReportOf(attempt, score(attempt), "r" + std::to_string(++ticket_))).ok());
      attempts.push_back(attempt);
    }
    return attempts;
  }
  bool OnDisk(const std::string& directory) const {
    return std::none_of(obsolete_.begin(), obsolete_.end(), [&](const std::string& dropped) {
      return directory == dropped || directory.starts_with(dropped + "/");
    });
  }
  void Join(const std::string& slot, const std::string& instance, const std::string& slurm_job = "",
            const std::string& host = "h") {
    v1::RegisterRequest request;
    request.set_slurm_job(slurm_job);
    request.set_slot(slot);
    request.set_instance(instance);
    request.set_state_dir_nonce("nonce");
    request.mutable_process()->set_host(host);
    REQUIRE(Call<v1::RegisterResponse>(request).ok());
  }
  static v1::LeaseRequest LeaseOf(const std::string& slot, const std::string& instance, double wait = 0) {
    v1::LeaseRequest request;
    request.set_worker("h-" + slot);
    request.set_instance(instance);
    request.set_wait_seconds(wait);
    return request;
  }
  v1::Attempt Get(const std::string& slot, const std::string& instance) {
    const auto response = Call<v1::LeaseResponse>(LeaseOf(slot, instance));
    REQUIRE(response.ok());
    REQUIRE(response->has_attempt());
    return response->attempt();
  }
  static v1::ReportRequest ReportOf(const v1::Attempt& attempt, double score, const std::string& id) {
    v1::ReportRequest request;
    request.set_worker("h-0");
    request.set_instance("a");
    request.set_request_id(id);
    *request.mutable_attempt() = attempt.key();
    *request.mutable_result()->add_values() = ToWire("score", score);
    request.mutable_result()->set_charged(1);
    return request;
  }
  static v1::ProgressRequest BeatOf(const v1::Attempt& attempt, const std::string& slot = "0",
                                    const std::string& instance = "a") {
    v1::ProgressRequest request;
    request.set_worker("h-" + slot);
    request.set_instance(instance);
    request.set_seq(5);
    *request.mutable_attempt() = attempt.key();
    return request;
  }
  size_t Count(EventKind kind) const {
    size_t n = 0;
    for (const StoredEvent& stored : events_) n += stored.event.kind == kind ? 1 : 0;
    return n;
  }

  Core core_;
  Now now_{absl::FromUnixSeconds(1'700'000'000), absl::Seconds(1000)};
  int64_t ticket_ = 0;
  std::map<int64_t, absl::Status> statuses_;
  std::map<int64_t, std::string> answers_;
  std::vector<StudyRecord> studies_;
  std::vector<StoredEvent> events_;
  std::vector<WorkerRecord> workers_;
  std::vector<RequestRecord> requests_;
  std::vector<MetricPoint> points_;
  std::vector<Push> pushes_;
  std::set<std::string> obsolete_;
  std::map<StudyId, double> active_;
  int64_t keep_requests_ = 0;
};

inline v1::ReleaseRequest ReleaseOf(const v1::Attempt& attempt, const std::string& slot) {
  v1::ReleaseRequest request;
  request.set_worker("h-" + slot);
  request.set_instance("a");
  *request.mutable_attempt() = attempt.key();
  return request;
}

inline std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

}  // namespace rung
