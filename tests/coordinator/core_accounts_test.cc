// What studies are charged: budget, device time, idle time, active time.
#include <catch2/catch.hpp>

#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
