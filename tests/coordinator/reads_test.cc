#include "coordinator/reads.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/wire.h"
#include "storage/study_store.h"
#include "tests/coordinator/demo_study.h"

namespace rung {
namespace {}  // namespace

TEST_CASE("a trial's detail says what its proposal saw, attempts and why they were lost") {
  const auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  CoreOptions options;
  options.dir = StateDir{"/state"};
  Core core(options);
  const Now now{absl::FromUnixSeconds(1'700'000'000), absl::Seconds(1)};
  core.Start(now);
  const auto apply = [&](const auto& body) {
    core.Apply(Command{0, body}, now);
    core.Settle(now);
    REQUIRE((*store)->Append(core.Take().batch).ok());
  };
  v1::CreateStudyRequest create;
  create.set_canonical_json(kStudy);
  apply(create);
  for (const char* slot : {"0", "1"}) {
    v1::RegisterRequest join;
    join.set_slot(slot);
    join.set_instance("a");
    join.mutable_process()->set_host("h");
    apply(join);
    v1::LeaseRequest lease;
    lease.set_worker(std::string("h-") + slot);
    lease.set_instance("a");
    apply(lease);
  }
  apply(ProcessGone{"h-1", "a"});
  v1::GetTrialRequest request;
  request.set_trial(2);
  const absl::StatusOr<v1::TrialDetail> detail = Answer(core, **store, request);
  REQUIRE(detail.ok());
  CHECK(nlohmann::json::parse(detail->origin_json())["pending"] == nlohmann::json({1}));
  REQUIRE(detail->attempts_size() == 1);
  CHECK(detail->attempts(0).worker() == "h-1");
  CHECK(detail->attempts(0).state() == "lost");
  REQUIRE(detail->events_size() == 3);
  CHECK(detail->events(2).text() == "its process is gone from its host: lost");
  request.set_trial(3);
  CHECK(absl::IsNotFound(Answer(core, **store, request).status()));
}

namespace {

// A trial that a worker takes and gives back again and again.
class Restless {
 public:
  Restless() : core_(Options()) {
    REQUIRE(store_.ok());
    core_.Start(now_);
    v1::CreateStudyRequest create;
    create.set_canonical_json(kStudy);
    Apply(create);
    v1::RegisterRequest join;
    join.set_slot("0");
    join.set_instance("a");
    join.mutable_process()->set_host("h");
    Apply(join);
  }
  v1::ProgressRequest Lease() {
    v1::LeaseRequest lease;
    lease.set_worker("h-0");
    lease.set_instance("a");
    Apply(lease);
    v1::ProgressRequest beat;
    beat.set_worker("h-0");
    beat.set_instance("a");
    *beat.mutable_attempt() = ToWire(core_.leases().OfWorker("h-0")->key);
    return beat;
  }
  void Release(const std::string& why) {
    v1::ReleaseRequest release;
    release.set_worker("h-0");
    *release.mutable_attempt() = ToWire(core_.leases().OfWorker("h-0")->key);
    release.set_message(why);
    Apply(release);
  }
  template <typename Body>
  void Apply(const Body& body) {
    core_.Apply(Command{0, body}, now_);
    core_.Settle(now_);
    REQUIRE((*store_)->Append(core_.Take().batch).ok());
  }
  const Core& core() const { return core_; }
  StudyStore& store() { return **store_; }

 private:
  static CoreOptions Options() {
    CoreOptions options;
    options.dir = StateDir{"/state"};
    return options;
  }
  absl::StatusOr<std::unique_ptr<StudyStore>> store_ = StudyStore::Open(":memory:");
  Core core_;
  const Now now_{absl::FromUnixSeconds(1'700'000'000), absl::Seconds(1)};
};

}  // namespace

TEST_CASE("a trial's detail fits into a message, however much happened to the trial") {
  Restless world;
  const std::string why(1000, 'x');
  constexpr int kTimes = 1200;
  for (int i = 0; i < kTimes; ++i) {
    world.Lease();
    world.Release(why + std::to_string(i));
  }
  v1::GetTrialRequest request;
  request.set_trial(1);
  const absl::StatusOr<v1::TrialDetail> detail = Answer(world.core(), world.store(), request);
  REQUIRE(detail.ok());
  CHECK(detail->ByteSizeLong() < kMaxAnswerBytes);
  CHECK(detail->events_left_out() > 0);
  CHECK(detail->events_size() + detail->events_left_out() == 1 + 2 * kTimes);
  CHECK(detail->attempts_size() + detail->attempts_left_out() == kTimes);
  // The newest ones are there, in order.
  CHECK(detail->events(detail->events_size() - 1).text().starts_with(why + std::to_string(kTimes - 1)));
  CHECK(detail->attempts(detail->attempts_size() - 1).key().attempt() == kTimes);
  CHECK(detail->events(0).seq() < detail->events(1).seq());
}

TEST_CASE("learning curves are read page by page") {
  Restless world;
  v1::ProgressRequest beat = world.Lease();
  constexpr int kPoints = 7;
  for (int step = 0; step < kPoints; ++step) {
    v1::MetricPoint& point = *beat.add_points();
    point.set_step(step);
    point.set_budget(step / 10.0);
    *point.mutable_metric() = ToWire("score", step == 3 ? std::nan("") : step * 0.5);
  }
  world.Apply(beat);
  v1::ListPointsRequest request;
  request.set_trial(1);
  request.set_limit(3);
  std::vector<v1::CurvePoint> points;
  int pages = 0;
  while (true) {
    const absl::StatusOr<v1::ListPointsResponse> page = Answer(world.core(), world.store(), request);
    REQUIRE(page.ok());
    ++pages;
    points.insert(points.end(), page->points().begin(), page->points().end());
    if (!page->more()) break;
    *request.mutable_after() = points.back();
  }
  CHECK(pages == 3);
  REQUIRE(points.size() == kPoints);
  for (int step = 0; step < kPoints; ++step) {
    const v1::CurvePoint& point = points[static_cast<size_t>(step)];
    CHECK(point.kind() == v1::ATTEMPT_KIND_TRAIN);
    CHECK(point.attempt() == 1);
    CHECK(point.point().step() == step);
    CHECK(point.point().budget() == step / 10.0);
    CHECK(point.point().metric().name() == "score");
    CHECK((step == 3 ? point.point().metric().state() == v1::NUMBER_STATE_NAN
                     : point.point().metric().value() == step * 0.5));
  }
  request.set_trial(9);
  CHECK(absl::IsNotFound(Answer(world.core(), world.store(), request).status()));
}

}  // namespace rung
