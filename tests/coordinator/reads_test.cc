#include "coordinator/reads.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "storage/study_store.h"

namespace rung {
namespace {

constexpr char kStudy[] = R"({"name": "demo", "trainer": {"type": "command", "argv": ["true"]},
  "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
  "algorithm": {"type": "hyperband"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": 1}, "seed": 7})";

}  // namespace

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

}  // namespace rung
