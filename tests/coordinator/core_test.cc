#include "coordinator/core.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/wire.h"

namespace rung {
namespace {

constexpr char kStudy[] = R"({"name": "demo", "trainer": {"type": "command", "argv": ["true"]},
  "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
  "algorithm": {"type": "hyperband"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": 1}, "seed": 7})";

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
  void Restart() {
    core_ = Core(Options());
    for (const StudyRecord& record : studies_) REQUIRE(core_.LoadStudy(record).ok());
    for (const StoredEvent& stored : events_) REQUIRE(core_.LoadEvent(stored.study, stored.event).ok());
    for (const WorkerRecord& record : workers_) core_.LoadWorker(record);
    for (const RequestRecord& record : requests_) core_.LoadRequest(record);
    core_.Start(now_);
  }

  void Create() {
    v1::CreateStudyRequest request;
    request.set_canonical_json(kStudy);
    REQUIRE(Call<v1::CreateStudyResponse>(request).ok());
  }
  void Join(const std::string& slot, const std::string& instance) {
    v1::RegisterRequest request;
    request.set_slot(slot);
    request.set_instance(instance);
    request.set_state_dir_nonce("nonce");
    request.mutable_process()->set_host("h");
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
};

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

TEST_CASE("a lost answer to Lease is given again, not a second attempt") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt first = world.Get("0", "a");
  const v1::Attempt again = world.Get("0", "a");
  CHECK(first.SerializeAsString() == again.SerializeAsString());
  CHECK(world.Count(EventKind::kAttemptGranted) == 1);
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

TEST_CASE("proofs of death end a lease at once") {
  World world;
  world.Join("0", "a");
  world.Create();
  world.Get("0", "a");
  SECTION("the same slot with a new process") {
    world.Join("0", "b");
  }
  SECTION("the process is gone") {
    world.Send(ProcessGone{"h-0", "a"});
  }
  SECTION("its parent reaped it") {
    v1::WorkerGoneRequest request;
    request.set_host("h");
    request.set_slot("0");
    request.set_instance("a");
    REQUIRE(world.Call<v1::WorkerGoneResponse>(request).ok());
  }
  CHECK(world.Count(EventKind::kAttemptLost) == 1);
  world.Join("1", "c");
  CHECK(world.Get("1", "c").key().attempt() == 2);
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

TEST_CASE("stop tells running attempts at once, pause lets them finish") {
  World world;
  world.Join("0", "a");
  world.Create();
  const v1::Attempt attempt = world.Get("0", "a");
  v1::SetStudyStateRequest request;
  request.set_wanted("paused");
  REQUIRE(world.Call<v1::StudyStatus>(request)->state() == "paused");
  CHECK(world.Call<v1::ProgressResponse>(World::BeatOf(attempt))->command() == v1::COMMAND_CONTINUE);
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

}  // namespace rung
