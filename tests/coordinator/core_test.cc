#include "coordinator/core.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "proto/wire.h"
#include "tests/coordinator/demo_study.h"

namespace rung {
namespace {

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

constexpr char kDeterministic[] = R"({"name": "%s", "objective": {"metric": "score", "goal": "maximize"},
  "trainer": {"type": "command", "argv": ["true"], "deterministic": true},
  "budget": {"unit": "epochs", "min": %d, "max": 9, "eta": 3}, "algorithm": {"type": "hyperband"},
  "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": 1}, "seed": 7%s})";
constexpr char kEnqueued[] = R"(, "enqueue": [{"config": {"x": 0.5}, "to": "max"}])";

double OlderIsBetter(const v1::Attempt& attempt) {
  return 1.0 / static_cast<double>(attempt.key().trial());
}

std::vector<std::string> Copies(const World& world) {
  std::vector<std::string> copies;
  for (const StoredEvent& stored : world.events_) {
    const Event& event = stored.event;
    if (!event.copied_from.has_value()) continue;
    const CopiedFrom& from = *event.copied_from;
    copies.push_back(absl::StrFormat("%d/%d.%d from %d/%d.%d", stored.study.value, event.job.trial.value,
                                     event.job.rung, from.study.value, from.job.trial.value, from.job.rung));
  }
  return copies;
}

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

}  // namespace

TEST_CASE("a waiting lease is answered as soon as there is work, else after its time") {
  World world;
  world.Join("0", "a");
  const int64_t early = world.Send(World::LeaseOf("0", "a", 30));
  CHECK_FALSE(world.statuses_.contains(early));
  world.Create();
  REQUIRE(world.statuses_.contains(early));
  v1::LeaseResponse response;
  REQUIRE(response.ParseFromString(world.answers_[early]));
  CHECK(response.attempt().key().attempt() == 1);
  CHECK(response.term() == 4);

  World idle;
  idle.Join("0", "a");
  const int64_t late = idle.Send(World::LeaseOf("0", "a", 30));
  idle.Pass(absl::Seconds(29));
  CHECK_FALSE(idle.statuses_.contains(late));
  idle.Pass(absl::Seconds(2));
  REQUIRE(response.ParseFromString(idle.answers_[late]));
  CHECK(response.idle() == v1::IDLE_REASON_WAIT);
}

TEST_CASE("studies share the workers: a new one does not wait for the end of an older one") {
  World world;
  world.Create();
  world.Join("0", "a");
  world.Join("1", "b");
  const auto study_of = [&](const std::string& slot, const std::string& instance) {
    const v1::Attempt attempt = world.Get(slot, instance);
    const int64_t study = attempt.key().study();
    REQUIRE(
        world.Call<v1::ReportResponse>(world.ReportOf(attempt, .5, slot + std::to_string(++world.ticket_)))
            .ok());
    return study;
  };
  CHECK(study_of("0", "a") == 1);
  std::string second = kStudy;
  second.replace(second.find("demo"), 4, "next");
  world.Create(second);
  // One worker takes turns.
  CHECK(study_of("0", "a") == 2);
  CHECK(study_of("0", "a") == 1);
  CHECK(study_of("0", "a") == 2);
  // Of two, each stays with its study.
  CHECK(world.Get("0", "a").key().study() == 1);
  CHECK(study_of("1", "b") == 2);
  CHECK(study_of("1", "b") == 2);
}

TEST_CASE("a lost answer to Lease is given again, not a second attempt") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt first = world.Get("0", "a");
  const v1::Attempt again = world.Get("0", "a");
  CHECK(first.SerializeAsString() == again.SerializeAsString());
  CHECK(world.Count(EventKind::kAttemptGranted) == 1);
}

TEST_CASE("an attempt carries its replicate's seed and fold; without folds it has none") {
  nlohmann::json study = nlohmann::json::parse(kStudy);
  study["objective"]["seeds"] = {11, 12};
  study["trainer"]["validation"] = {{"folds", 2}};
  World world;
  world.Join("0", "a");
  world.Create(study.dump());
  std::vector<std::vector<int64_t>> got;
  for (int i = 0; i < 4; ++i) {
    const v1::Attempt attempt = world.Get("0", "a");
    CHECK(attempt.key().trial() == 1);
    got.push_back({attempt.key().replicate(), attempt.seed(), attempt.fold()});
    REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(attempt, .5, "r" + std::to_string(i))).ok());
  }
  CHECK(got == std::vector<std::vector<int64_t>>{{0, 11, 0}, {1, 11, 1}, {2, 12, 0}, {3, 12, 1}});

  World whole;
  whole.Join("0", "a");
  whole.Create();
  CHECK(whole.Get("0", "a").fold() == -1);
}

TEST_CASE("a report is stored once: repeated, changed and outdated ones") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::ReportRequest report = World::ReportOf(attempt, 0.5, "r1");
  report.set_want_next(true);
  const auto answer = world.Call<v1::ReportResponse>(report);
  REQUIRE(answer.ok());
  CHECK(answer->accepted());
  CHECK(answer->has_next());
  const auto repeated = world.Call<v1::ReportResponse>(report);
  REQUIRE(repeated.ok());
  CHECK(repeated->SerializeAsString() == answer->SerializeAsString());
  CHECK(world.Count(EventKind::kResult) == 1);
  CHECK(world.Count(EventKind::kAttemptGranted) == 2);

  const auto changed = world.Call<v1::ReportResponse>(World::ReportOf(attempt, 0.9, "r1"));
  CHECK(absl::IsInvalidArgument(changed.status()));
  CHECK(CodeOf(changed.status()) == "E0651");

  world.Restart();
  const auto after = world.Call<v1::ReportResponse>(report);
  REQUIRE(after.ok());
  CHECK(after->next().key().SerializeAsString() == answer->next().key().SerializeAsString());
  CHECK(world.Count(EventKind::kResult) == 1);
}

TEST_CASE("silence: suspected after a TTL, lost after three; the older attempt is fenced") {
  World world;
  world.Join("0", "a");
  world.Create();
  world.Send(StreamOpened{"h-0", "a"});
  const v1::Attempt attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(50));
  REQUIRE(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_CONTINUE);
  world.Pass(absl::Seconds(59));
  CHECK(world.core_.Suspects(world.now_).empty());
  world.Pass(absl::Seconds(2));
  CHECK(world.core_.Suspects(world.now_).size() == 1);
  world.Pass(absl::Seconds(118));
  CHECK(world.Count(EventKind::kAttemptLost) == 0);
  world.Pass(absl::Seconds(2));
  CHECK(world.Count(EventKind::kAttemptLost) == 1);

  world.Join("1", "b");
  const v1::Attempt second = world.Get("1", "b");
  CHECK(second.key().trial() == attempt.key().trial());
  CHECK(second.key().attempt() == 2);
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_LEASE_LOST);
  const auto late = world.Call<v1::ReportResponse>(World::ReportOf(attempt, 1, "late"));
  CHECK(absl::IsAborted(late.status()));
  CHECK(CodeOf(late.status()) == "E0650");
  CHECK(world.Call<v1::ReportResponse>(World::ReportOf(second, 0.5, "good"))->accepted());
}

TEST_CASE("the result of a lost attempt is taken as long as nobody has its job") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  world.Send(ProcessGone{"h-0", "a"});
  REQUIRE(world.Count(EventKind::kAttemptLost) == 1);
  const auto failed = [&] {
    v1::ReportRequest request = World::ReportOf(attempt, 1, "failed");
    request.clear_result();
    request.mutable_failure()->set_cause(v1::FAILURE_CAUSE_CRASH);
    return request;
  };
  CHECK(CodeOf(world.Call<v1::ReportResponse>(failed()).status()) ==
        "E0650");  // that may have been its death
  v1::ReportRequest request = World::ReportOf(attempt, 1, "spooled");
  request.set_checkpoint_budget(1);
  CHECK(world.Call<v1::ReportResponse>(request)->accepted());
  CHECK(world.Count(EventKind::kResult) == 1);
  CHECK(world.Call<v1::ReportResponse>(request)->accepted());  // sent again
  CHECK(world.Count(EventKind::kResult) == 1);
  world.Join("1", "b");
  CHECK(world.Get("1", "b").key().trial() != attempt.key().trial());
}

TEST_CASE("proofs of death end a lease at once") {
  World world;
  std::string why;
  world.Join("0", "a");
  world.Create();
  world.Get("0", "a");
  SECTION("the same slot with a new process") {
    world.Join("0", "b");
    why = "its process was replaced by another in its slot";
  }
  SECTION("the process is gone") {
    why = "its process is gone from its host";
    world.Send(ProcessGone{"h-0", "a"});
  }
  SECTION("its parent reaped it") {
    why = "its process was reaped by its parent";
    v1::WorkerGoneRequest request;
    request.set_host("h");
    request.set_slot("0");
    request.set_instance("a");
    REQUIRE(world.Call<v1::WorkerGoneResponse>(request).ok());
  }
  CHECK(world.Count(EventKind::kAttemptLost) == 1);
  CHECK(world.events_.back().event.message == why);
  world.Join("1", "c");
  CHECK(world.Get("1", "c").key().attempt() == 2);
}

TEST_CASE("a worker that is told to leave checkpoints, hands back and gets no more; its successor does") {
  World world;
  world.Join("0", "a");
  world.Join("1", "b");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::EndWorkerRequest request;
  request.set_worker("h-0");
  const auto answer = world.Call<v1::EndWorkerResponse>(request);
  REQUIRE(answer.ok());
  CHECK(answer->attempt().trial() == attempt.key().trial());
  REQUIRE(world.pushes_.size() == 1);
  CHECK(world.pushes_[0].worker == "h-0");
  CHECK(world.pushes_[0].response.command() == v1::COMMAND_DRAIN);
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_DRAIN);
  CHECK(world.Count(EventKind::kAttemptLost) == 0);  // it is its own until the worker hands it back
  const v1::Attempt other = world.Get("1", "b");
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(other, "1", "b"))->command() == v1::COMMAND_CONTINUE);
  // Its report is taken, with no more work behind it.
  v1::ReportRequest report = World::ReportOf(attempt, 1, "r");
  report.set_want_next(true);
  const auto reported = world.Call<v1::ReportResponse>(report);
  REQUIRE(reported.ok());
  CHECK(reported->accepted());
  CHECK_FALSE(reported->has_next());
  const auto idle = world.Call<v1::LeaseResponse>(World::LeaseOf("0", "a"));
  REQUIRE(idle.ok());
  CHECK(idle->idle() == v1::IDLE_REASON_DRAINED);
  v1::ProgressRequest beat;
  beat.set_worker("h-0");
  beat.set_instance("a");
  CHECK(world.Call<v1::ProgressResponse>(beat)->command() == v1::COMMAND_DRAIN);
  // A coordinator that follows knows of it.
  world.Restart();
  world.Join("0", "a");
  CHECK(world.Call<v1::LeaseResponse>(World::LeaseOf("0", "a"))->idle() == v1::IDLE_REASON_DRAINED);
  world.Join("0", "c");
  CHECK(world.Get("0", "c").has_key());
  request.set_worker("h-9");
  CHECK(GetErrorDetail(world.Call<v1::EndWorkerResponse>(request).status())->code == "E0625");
}

TEST_CASE("an evicted worker's attempt is lost at once, another has it, and no config is blamed") {
  World world;
  world.Join("0", "a");
  world.Join("1", "b");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::EndWorkerRequest request;
  request.set_worker("h-0");
  request.set_evict(true);
  REQUIRE(world.Call<v1::EndWorkerResponse>(request).ok());
  REQUIRE(world.Count(EventKind::kAttemptLost) == 1);
  CHECK(world.events_.back().event.message == "its worker was evicted");
  CHECK(world.events_.back().event.loss == LossReason::kLost);
  REQUIRE_FALSE(world.pushes_.empty());
  CHECK(world.pushes_[0].response.command() == v1::COMMAND_LEASE_LOST);
  const v1::Attempt again = world.Get("1", "b");
  CHECK(again.key().trial() == attempt.key().trial());
  CHECK(again.key().attempt() == attempt.key().attempt() + 1);
  CHECK(GetErrorDetail(world.Call<v1::ReportResponse>(World::ReportOf(attempt, 1, "r")).status())->code ==
        "E0650");
  CHECK(world.Call<v1::LeaseResponse>(World::LeaseOf("0", "a"))->idle() == v1::IDLE_REASON_DRAINED);
  v1::GetStudyRequest ask;
  CHECK(world.Call<v1::StudyStatus>(ask)->failures_by_cause().empty());
  const auto repeated = world.Call<v1::EndWorkerResponse>(request);
  REQUIRE(repeated.ok());
  CHECK_FALSE(repeated->has_attempt());
  CHECK(world.Count(EventKind::kAttemptLost) == 1);
}

TEST_CASE("a Slurm task that starts again on another node ends the lease of its first start") {
  World world;
  world.Join("0", "a", "17");
  world.Join("1", "b", "17");
  world.Create();
  world.Get("0", "a");
  world.Get("1", "b");
  SECTION("the same task of the same job") {
    world.Join("0", "c", "17", "elsewhere");
    CHECK(world.Count(EventKind::kAttemptLost) == 1);
  }
  SECTION("another job, and a worker outside Slurm") {
    world.Join("0", "c", "18", "elsewhere");
    world.Join("0", "d", "", "third");
    CHECK(world.Count(EventKind::kAttemptLost) == 0);
  }
}

TEST_CASE("a proof about an older process changes nothing") {
  World world;
  world.Join("0", "a");
  world.Join("0", "b");
  world.Create();
  world.Get("0", "b");
  world.Send(ProcessGone{"h-0", "a"});
  CHECK(world.Count(EventKind::kAttemptLost) == 0);
}

TEST_CASE("after a restart the attempt goes on with a fresh TTL and resumes from its checkpoint if lost") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::ProgressRequest beat = World::BeatOf(attempt);
  beat.set_checkpointed(true);
  beat.set_budget(0.5);
  v1::MetricPoint& point = *beat.add_points();
  point.set_step(3);
  *point.mutable_metric() = ToWire("train/loss", 0.25);
  CHECK(world.Call<v1::ProgressResponse>(beat)->ack() == 5);
  CHECK(world.points_.size() == 1);
  world.Pass(absl::Seconds(170));
  world.Restart();
  world.Pass(absl::Seconds(170));
  CHECK(world.Count(EventKind::kAttemptLost) == 0);
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_CONTINUE);
  world.Send(ProcessGone{"h-0", "a"});
  world.Join("1", "b");
  const v1::Attempt next = world.Get("1", "b");
  CHECK(next.budget_from() == 0.5);
  CHECK(next.resume_dir() == attempt.checkpoint_dir());
  CHECK(next.checkpoint_dir() != attempt.checkpoint_dir());
}

TEST_CASE("an offline coordinator shows what is stored and lets nothing be changed") {
  World world;
  world.Create();
  world.Join("0", "a");
  const v1::Attempt attempt = world.Get("0", "a");
  const size_t events = world.events_.size();
  const size_t workers = world.workers_.size();
  world.Restart(/*offline=*/true);
  const auto refused = [](const auto& response) {
    CHECK(absl::IsUnavailable(response.status()));  // workers and commands try again
    CHECK(CodeOf(response.status()) == "E0620");
  };
  v1::RegisterRequest other;
  other.set_slot("0");
  other.set_instance("b");
  other.set_state_dir_nonce("nonce");
  other.mutable_process()->set_host("h");
  refused(world.Call<v1::RegisterResponse>(other));
  refused(world.Call<v1::LeaseResponse>(World::LeaseOf("0", "a")));
  refused(world.Call<v1::ProgressResponse>(World::BeatOf(attempt)));
  refused(world.Call<v1::ReportResponse>(World::ReportOf(attempt, 0.5, "r")));
  v1::ReleaseRequest release;
  *release.mutable_attempt() = attempt.key();
  refused(world.Call<v1::ReleaseResponse>(release));
  v1::WorkerGoneRequest gone;
  gone.set_host("h");
  gone.set_slot("0");
  gone.set_instance("a");
  refused(world.Call<v1::WorkerGoneResponse>(gone));
  v1::CreateStudyRequest create;
  create.set_canonical_json(kStudy);
  refused(world.Call<v1::CreateStudyResponse>(create));
  v1::SetStudyStateRequest stop;
  stop.set_wanted("stopping");
  refused(world.Call<v1::StudyStatus>(stop));
  world.Send(ProcessGone{"h-0", "a"});
  world.Pass(absl::Minutes(10));  // far more than three TTLs of silence
  CHECK(world.core_.Suspects(world.now_).empty());
  CHECK(world.events_.size() == events);
  CHECK(world.workers_.size() == workers);
  const auto shown = world.Call<v1::StudyStatus>(v1::GetStudyRequest());
  REQUIRE(shown.ok());
  CHECK(shown->running_attempts() == 1);
}

TEST_CASE("stop tells running attempts at once, pause lets them finish") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::SetStudyStateRequest request;
  request.set_wanted("paused");
  REQUIRE(world.Call<v1::StudyStatus>(request)->state() == "paused");
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_CONTINUE);
  world.pushes_.clear();
  request.set_wanted("stopping");
  REQUIRE(world.Call<v1::StudyStatus>(request).ok());
  REQUIRE(world.pushes_.size() == 1);
  CHECK(world.pushes_[0].worker == "h-0");
  CHECK(world.pushes_[0].response.command() == v1::COMMAND_STOP);
  v1::ReleaseRequest release;
  *release.mutable_attempt() = attempt.key();
  release.set_reason(v1::LOSS_REASON_RELEASED);
  REQUIRE(world.Call<v1::ReleaseResponse>(release).ok());
  CHECK(world.core_.AllFinished());
}

TEST_CASE("a study of the same name: the same goes on, another is refused with the difference") {
  World world;
  world.Create();
  v1::CreateStudyRequest request;
  request.set_canonical_json(kStudy);
  request.set_resume_if_same(true);
  CHECK_FALSE(world.Call<v1::CreateStudyResponse>(request)->created());
  std::string other = kStudy;
  other.replace(other.find("\"seed\": 7"), 9, "\"seed\": 8");
  request.set_canonical_json(other);
  const auto refused = world.Call<v1::CreateStudyResponse>(request);
  CHECK(absl::IsAlreadyExists(refused.status()));
  CHECK(std::string(refused.status().message()).find("/seed: 7 -> 8") != std::string::npos);
}

TEST_CASE("a whole bracket runs to its end and drops the losers' checkpoints") {
  World world;
  world.Join("0", "a");
  world.Create();
  int reports = 0;
  while (!world.core_.AllFinished()) {
    REQUIRE(++reports < 100);
    const v1::Attempt attempt = world.Get("0", "a");
    REQUIRE(world
                .Call<v1::ReportResponse>(World::ReportOf(
                    attempt, 1.0 / static_cast<double>(attempt.key().trial()), "r" + std::to_string(reports)))
                .ok());
  }
  CHECK(reports == 13);  // 9 + 3 + 1
  CHECK(world.obsolete_.contains("/state/studies/1/checkpoints/9"));
  CHECK_FALSE(world.obsolete_.contains("/state/studies/1/checkpoints/1"));
  const std::string before =
      world.core_.StatusOf(world.core_.studies().at(StudyId{1})).incumbent().DebugString();
  world.Restart();
  CHECK(world.core_.StatusOf(world.core_.studies().at(StudyId{1})).incumbent().DebugString() == before);
  CHECK(world.core_.AllFinished());
}

TEST_CASE("a copied result points to a checkpoint that exists, after a restart too") {
  std::vector<std::vector<std::string>> copies;
  for (const bool restarted : {false, true}) {
    World world;
    world.Join("0", "a");
    world.Create(absl::StrFormat(kDeterministic, "first", 1, ""));
    CHECK(world.Finish(OlderIsBetter).size() == 13);
    if (restarted) world.Restart();
    // The same configs again: of the first study only the winner's last checkpoint is left.
    world.Create(absl::StrFormat(kDeterministic, "second", 1, ""));
    CHECK(world.Finish(OlderIsBetter).size() == 12);
    copies.push_back(Copies(world));
  }
  CHECK(copies[0] == std::vector<std::string>{"2/1.2 from 1/1.2"});
  CHECK(copies[1] == copies[0]);
}

TEST_CASE("a checkpoint that a copy points to outlives its own trial") {
  World world;
  world.Join("0", "a");
  world.Create(absl::StrFormat(kDeterministic, "first", 1, ""));
  for (int i = 0; i < 8; ++i) {
    const v1::Attempt attempt = world.Get("0", "a");
    REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(attempt, OlderIsBetter(attempt), "")).ok());
  }
  world.Ask("paused", "", "first");
  // All that the first study has of rung 0 is still undecided there, so it is copied.
  world.Create(absl::StrFormat(kDeterministic, "second", 1, ""));
  const v1::Attempt ninth = world.Get("0", "a");
  CHECK(Copies(world).size() == 8);
  CHECK(ninth.key().trial() == 9);
  world.Ask("stopping", "", "first");
  CHECK(world.obsolete_.empty());
  world.Restart();
  // In the second study the first's losers win, and go on from checkpoints of trials that are long stopped.
  REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(ninth, 0.01, "")).ok());
  const v1::Attempt promoted = world.Get("0", "a");
  CHECK(promoted.key().rung() == 1);
  CHECK(promoted.resume_dir() == "/state/studies/1/checkpoints/1/0/0/1");
  CHECK(promoted.budget_from() == 1);
  world.Restart();
  CHECK(world.Get("0", "a").SerializeAsString() == promoted.SerializeAsString());
}

TEST_CASE("a copy from a study with other rungs resumes at the budget that it stands for") {
  World world;
  world.Join("0", "a");
  world.Create(absl::StrFormat(kDeterministic, "fine", 1, kEnqueued));
  for (const int rung : {0, 1}) {
    const v1::Attempt attempt = world.Get("0", "a");
    CHECK(attempt.key().rung() == rung);
    REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(attempt, 0.5, "")).ok());
  }
  world.Ask("paused", "", "fine");
  world.Create(absl::StrFormat(kDeterministic, "coarse", 3, kEnqueued));
  const v1::Attempt attempt = world.Get("0", "a");
  CHECK(Copies(world) == std::vector<std::string>{"2/1.0 from 1/1.1"});
  CHECK(attempt.key().rung() == 1);
  CHECK(attempt.resume_dir() == "/state/studies/1/checkpoints/1/1/0/1");
  CHECK(attempt.budget_from() == 3);
  CHECK(attempt.budget_to() == 9);
  world.Restart();
  CHECK(world.Get("0", "a").SerializeAsString() == attempt.SerializeAsString());
  REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(attempt, 0.5, "")).ok());
  CHECK(world.core_.StatusOf(world.core_.studies().at(StudyId{2})).budget_saved() ==
        6);  // copied, and continued
}

TEST_CASE("an incumbent's checkpoint goes when another takes its place") {
  World world;
  world.Join("0", "a");
  world.Create();
  std::vector<v1::Attempt> waiting;
  const v1::Attempt first = world.Get("0", "a");
  REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(first, 1, "")).ok());
  for (int i = 0; i < 8; ++i) {
    REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(world.Get("0", "a"), 0.1, "")).ok());
  }
  // The incumbent is promoted, and fails there: it stays the best until another reaches that rung.
  const v1::Attempt promoted = world.Get("0", "a");
  REQUIRE(promoted.key().trial() == 1);
  v1::ReportRequest failed = World::ReportOf(promoted, 0, "");
  failed.clear_result();
  failed.mutable_failure()->set_cause(v1::FAILURE_CAUSE_CRASH);
  REQUIRE(world.Call<v1::ReportResponse>(failed).ok());
  CHECK(world.OnDisk("/state/studies/1/checkpoints/1"));
  REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(world.Get("0", "a"), 0.1, "")).ok());
  CHECK_FALSE(world.OnDisk("/state/studies/1/checkpoints/1"));
}

TEST_CASE("a release that overtakes the word of its checkpoint brings it along") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  if (GENERATE(false, true)) {
    v1::ProgressRequest beat = World::BeatOf(attempt);
    beat.set_checkpointed(true);
    beat.set_budget(0.75);
    REQUIRE(world.Call<v1::ProgressResponse>(beat).ok());
  }
  v1::ReleaseRequest release;
  *release.mutable_attempt() = attempt.key();
  release.set_checkpoint_budget(0.75);
  REQUIRE(world.Call<v1::ReleaseResponse>(release).ok());
  CHECK(world.Count(EventKind::kCheckpoint) == 1);
  const v1::Attempt next = world.Get("0", "a");
  CHECK(next.budget_from() == 0.75);
  CHECK(next.resume_dir() == attempt.checkpoint_dir());
}

TEST_CASE("a result that overtakes the word of its checkpoint stands for that one, not for an older") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt first = world.Get("0", "a");
  v1::ReleaseRequest release;
  *release.mutable_attempt() = first.key();
  release.set_checkpoint_budget(0.5);
  REQUIRE(world.Call<v1::ReleaseResponse>(release).ok());
  const v1::Attempt second = world.Get("0", "a");
  REQUIRE(second.resume_dir() == first.checkpoint_dir());
  v1::ReportRequest report = World::ReportOf(second, 1, "");
  report.set_checkpoint_budget(1);
  REQUIRE(world.Call<v1::ReportResponse>(report).ok());
  CHECK_FALSE(world.OnDisk(first.checkpoint_dir()));
  for (int i = 0; i < 8; ++i) {
    REQUIRE(world.Call<v1::ReportResponse>(World::ReportOf(world.Get("0", "a"), 0.1, "")).ok());
  }
  const v1::Attempt promoted = world.Get("0", "a");
  CHECK(promoted.budget_from() == 1);
  CHECK(promoted.resume_dir() == second.checkpoint_dir());
}

TEST_CASE("amounts that are no numbers are refused and change nothing") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  const size_t before = world.events_.size();
  const double bad = GENERATE(std::numeric_limits<double>::quiet_NaN(), -1.0, 1e308);
  v1::ReportRequest report = World::ReportOf(attempt, 0.5, "r");
  report.mutable_result()->set_charged(bad);
  CHECK(CodeOf(world.Call<v1::ReportResponse>(report).status()) == "E0655");
  report.mutable_result()->set_charged(1);
  report.mutable_result()->set_device_seconds(bad);
  CHECK(CodeOf(world.Call<v1::ReportResponse>(report).status()) == "E0655");
  v1::ProgressRequest beat = World::BeatOf(attempt);
  beat.set_checkpointed(true);
  beat.set_budget(bad);
  CHECK(CodeOf(world.Call<v1::ProgressResponse>(beat).status()) == "E0655");
  beat = World::BeatOf(attempt);
  beat.add_points()->set_budget(bad);
  CHECK(CodeOf(world.Call<v1::ProgressResponse>(beat).status()) == "E0655");
  v1::ReleaseRequest release;
  *release.mutable_attempt() = attempt.key();
  release.set_checkpoint_budget(bad);
  CHECK(CodeOf(world.Call<v1::ReleaseResponse>(release).status()) == "E0655");
  CHECK(world.events_.size() == before);
  CHECK(world.points_.empty());
}

TEST_CASE("a stop that a person asked for outlives the coordinator") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  world.Ask("stopping");
  world.pushes_.clear();
  world.Restart();
  world.Settle();
  REQUIRE(world.pushes_.size() == 1);
  CHECK(world.pushes_[0].response.command() == v1::COMMAND_STOP);
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_STOP);
}

v1::ReleaseRequest ReleaseOf(const v1::Attempt& attempt, const std::string& slot) {
  v1::ReleaseRequest request;
  request.set_worker("h-" + slot);
  request.set_instance("a");
  *request.mutable_attempt() = attempt.key();
  return request;
}

TEST_CASE("a worker that cannot read the data leaves the study to others; if none can, it is paused") {
  World world;
  world.Create();
  world.Join("0", "a");
  world.Join("1", "a");
  v1::ReleaseRequest blind = ReleaseOf(world.Get("0", "a"), "0");
  blind.set_data_unreadable(true);
  blind.set_message("stale file handle: train.csv");
  REQUIRE(world.Call<v1::ReleaseResponse>(blind).ok());
  CHECK(world.Count(EventKind::kStudyState) == 0);
  CHECK(world.Count(EventKind::kAttemptFailed) == 0);
  // The blind one waits, and the other gets the job although the blind one asked first.
  const int64_t waits = world.Send(World::LeaseOf("0", "a", 30));
  const v1::Attempt attempt = world.Get("1", "a");
  CHECK(attempt.key().trial() == blind.attempt().trial());
  CHECK(attempt.key().attempt() == 2);
  CHECK_FALSE(world.statuses_.contains(waits));
  SECTION("a mount may come back") {
    world.Pass(absl::Minutes(6));
    CHECK(world.Get("0", "a").key().attempt() > 0);
  }
  SECTION("nobody can read them") {
    blind = ReleaseOf(attempt, "1");
    blind.set_data_unreadable(true);
    blind.set_message("no such file: train.csv");
    REQUIRE(world.Call<v1::ReleaseResponse>(blind).ok());
    const auto study = world.Call<v1::StudyStatus>(v1::GetStudyRequest());
    REQUIRE(study.ok());
    CHECK(study->state() == "paused");
    CHECK(study->message() == "bad data: no such file: train.csv");
    CHECK(study->trials_by_state().count("failed") == 0);
    world.Ask("running");
    CHECK(world.Call<v1::StudyStatus>(v1::GetStudyRequest())->message().empty());
    CHECK(world.Get("0", "a").key().attempt() == 3);
  }
}

TEST_CASE("what an attempt without a result used is in the accounts") {
  World world;
  world.Create();
  world.Join("0", "a");
  v1::Attempt attempt = world.Get("0", "a");
  const auto checkpoint = [&](double budget) {
    v1::ProgressRequest beat = World::BeatOf(attempt);
    beat.set_checkpointed(true);
    beat.set_budget(budget);
    REQUIRE(world.Call<v1::ProgressResponse>(beat).ok());
  };
  const auto study = [&] { return *world.Call<v1::StudyStatus>(v1::GetStudyRequest()); };
  // Released: up to its checkpoint.
  world.Pass(absl::Seconds(20));
  checkpoint(0.25);
  world.Pass(absl::Seconds(10));
  REQUIRE(world.Call<v1::ReleaseResponse>(ReleaseOf(attempt, "0")).ok());
  CHECK(study().budget_charged() == 0.25);
  CHECK(study().device_seconds() == 30);
  CHECK(study().lost_seconds() == 10);
  // Lost: up to the last word of its worker; only what it added itself.
  attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(5));
  checkpoint(0.5);
  world.Pass(absl::Minutes(1));
  world.Send(ProcessGone{"h-0", "a"});
  CHECK(study().budget_charged() == 0.5);
  CHECK(study().device_seconds() == 35);
  CHECK(study().lost_seconds() == 10);
  // Lost by a coordinator that died: as far as its log goes.
  attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(8));
  checkpoint(0.75);
  world.now_.steady += absl::Hours(1);
  world.now_.wall += absl::Hours(1);
  world.Restart();
  CHECK(study().device_seconds() == 35);
  world.Send(ProcessGone{"h-0", "a"});
  CHECK(study().budget_charged() == 0.75);
  CHECK(study().device_seconds() == 43);
  // The result has its own; then all of it is the trial's.
  attempt = world.Get("0", "a");
  v1::ReportRequest report = World::ReportOf(attempt, 0.5, "r");
  report.mutable_result()->set_charged(0.25);
  report.mutable_result()->set_device_seconds(7);
  REQUIRE(world.Call<v1::ReportResponse>(report).ok());
  CHECK(study().budget_charged() == 1);
  CHECK(study().device_seconds() == 50);
  const v1::ReplicateResult& replicate = study().incumbent().rungs(0).replicates(0);
  CHECK(replicate.charged() == 1);
  CHECK(replicate.device_seconds() == 50);
  // A failure.
  attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(4));
  v1::ReportRequest failure = World::ReportOf(attempt, 0, "f");
  failure.mutable_failure()->set_cause(v1::FAILURE_CAUSE_CRASH);
  REQUIRE(world.Call<v1::ReportResponse>(failure).ok());
  CHECK(study().device_seconds() == 54);
  world.Restart();
  CHECK(study().budget_charged() == 1);
  CHECK(study().device_seconds() == 54);
  CHECK(study().lost_seconds() == 10);  // a failure is what this config gives
}

constexpr char kTwoTrials[] = R"({"name": "two", "trainer": {"type": "command", "argv": ["true"]},
  "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 9, "max": 9, "eta": 3},
  "algorithm": {"type": "random"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"trials": 2}, "seed": 7})";

TEST_CASE("workers that nothing can come for are sent home, but for a spare one") {
  World world;
  std::map<std::string, int64_t> asked;
  const auto ask = [&](const std::string& slot, bool leaves) {
    v1::LeaseRequest request = World::LeaseOf(slot, "i" + slot, 30);
    request.set_leaves_if_surplus(leaves);
    asked[slot] = world.Send(request);
  };
  // "": it waits; "work"; else why it has none.
  const auto answer = [&](const std::string& slot) -> std::string {
    if (!world.statuses_.contains(asked[slot])) return "";
    v1::LeaseResponse response;
    REQUIRE(response.ParseFromString(world.answers_[asked[slot]]));
    return response.has_attempt() ? "work" : v1::IdleReason_Name(response.idle());
  };
  for (const char* slot : {"0", "1", "2", "3", "4"}) world.Join(slot, std::string("i") + slot);
  for (const char* slot : {"0", "1", "2", "3"}) ask(slot, true);
  CHECK(answer("3").empty());  // there is no study yet
  world.Create(kTwoTrials);
  CHECK(answer("0") == "work");
  CHECK(answer("1") == "work");
  CHECK(answer("2").empty());
  CHECK(answer("3") == "IDLE_REASON_SURPLUS");
  ask("4", false);
  CHECK(answer("4").empty());  // it is not to leave, so the other one does
  CHECK(answer("2") == "IDLE_REASON_SURPLUS");
  // A worker dies with its attempt: the spare one has it.
  world.Send(ProcessGone{"h-0", "i0"});
  CHECK(answer("4") == "work");
}

TEST_CASE("no worker is sent home while trials may come") {
  World world;
  world.Create();  // nine trials
  for (int slot = 0; slot < 12; ++slot) world.Join(std::to_string(slot), "a");
  std::vector<int64_t> asked;
  for (int slot = 0; slot < 12; ++slot) {
    v1::LeaseRequest request = World::LeaseOf(std::to_string(slot), "a", 30);
    request.set_leaves_if_surplus(true);
    asked.push_back(world.Send(request));
    if (slot < 10) CHECK(world.statuses_.contains(asked.back()) == (slot < 9));
  }
  CHECK(world.statuses_.contains(asked[10]));
  // A second study: whoever waits has work again.
  std::string second = kStudy;
  second.replace(second.find("demo"), 4, "next");
  world.Create(second);
  v1::LeaseResponse response;
  REQUIRE(response.ParseFromString(world.answers_[asked[9]]));
  CHECK(response.has_attempt());
  CHECK(world.core_.HasWorkers());
}

TEST_CASE("time of attempts that run is told until it is in the accounts") {
  World world;
  const auto study = [&] { return *world.Call<v1::StudyStatus>(v1::GetStudyRequest()); };
  world.Create();
  CHECK(!world.core_.HasWorkers());
  world.Join("0", "a");
  CHECK(world.core_.HasWorkers());
  const v1::Attempt attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(10));
  CHECK(study().running_seconds() == 10);
  CHECK(study().device_seconds() == 0);
  v1::ReportRequest report = World::ReportOf(attempt, .5, "r");
  report.mutable_result()->set_device_seconds(9);
  REQUIRE(world.Call<v1::ReportResponse>(report).ok());
  CHECK(study().running_seconds() == 0);
  CHECK(study().device_seconds() == 9);
}

TEST_CASE("time of workers without an attempt is in the accounts") {
  World world;
  const auto idle = [&] { return world.Call<v1::StudyStatus>(v1::GetStudyRequest())->idle_seconds(); };
  world.Join("0", "a");
  world.Pass(absl::Seconds(100));
  world.Create();
  CHECK(idle() == 0);  // there was no study to wait for
  world.Join("1", "b");
  world.Pass(absl::Seconds(10));
  CHECK(idle() == 20);
  const v1::Attempt attempt = world.Get("0", "a");
  world.Pass(absl::Seconds(3));
  CHECK(idle() == 23);
  world.Ask("paused");
  world.Pass(absl::Seconds(2));
  CHECK(idle() == 25);
  REQUIRE(world.Call<v1::ReleaseResponse>(ReleaseOf(attempt, "0")).ok());
  world.Restart();
  CHECK(idle() == 25);
  world.Pass(absl::Seconds(5));
  CHECK(idle() == 25);  // nobody has been heard of yet
  world.Join("0", "a");
  world.Pass(absl::Seconds(5));
  CHECK(idle() == 30);
  world.Ask("stopping");
  REQUIRE(world.core_.AllFinished());
  world.Pass(absl::Seconds(5));
  CHECK(idle() == 30);
}

TEST_CASE("device time of a lost attempt that comes back is not lost") {
  World world;
  world.Create();
  world.Join("0", "a");
  const v1::Attempt attempt = world.Get("0", "a");
  const auto study = [&] { return *world.Call<v1::StudyStatus>(v1::GetStudyRequest()); };
  world.Pass(absl::Seconds(9));
  REQUIRE(world.Call<v1::ProgressResponse>(World::BeatOf(attempt)).ok());
  world.Pass(absl::Minutes(4));
  CHECK(study().lost_seconds() == 9);
  v1::ReportRequest report = World::ReportOf(attempt, 0.5, "r");
  report.mutable_result()->set_device_seconds(12);
  REQUIRE(world.Call<v1::ReportResponse>(report).ok());
  CHECK(study().lost_seconds() == 0);
  CHECK(study().device_seconds() == 12);
}

TEST_CASE("a pause asks for a checkpoint, once") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  world.Ask("paused");
  world.Ask("paused");
  REQUIRE(world.pushes_.size() == 1);
  CHECK(world.pushes_[0].response.command() == v1::COMMAND_CHECKPOINT);
  CHECK(world.pushes_[0].response.attempt().SerializeAsString() == attempt.key().SerializeAsString());
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_CONTINUE);
}

TEST_CASE("a change of state that is asked for again is not made again") {
  World world;
  world.Create();
  world.Ask("paused", "p");
  world.Ask("running", "r");
  world.Restart();
  world.Ask("paused", "p");  // its answer was lost
  CHECK(world.core_.studies().at(StudyId{1}).study.state() == StudyState::kRunning);
  v1::SetStudyStateRequest other;
  other.set_wanted("stopping");
  other.set_request_id("p");
  CHECK(CodeOf(world.Call<v1::StudyStatus>(other).status()) == "E0651");
  CHECK(world.keep_requests_ == World::Options().max_requests);
}

TEST_CASE("the time a study was active is stored with every event") {
  World world;
  world.Join("0", "a");
  world.Create();
  world.Pass(absl::Seconds(3));
  CHECK(world.active_[StudyId{1}] == 0);
  world.Get("0", "a");
  CHECK(world.active_[StudyId{1}] == 3);
  world.Pass(absl::Seconds(2));
  CHECK(world.active_[StudyId{1}] == 3);
  world.Pass(absl::Seconds(9));
  CHECK(world.active_[StudyId{1}] == 14);
}

}  // namespace rung
