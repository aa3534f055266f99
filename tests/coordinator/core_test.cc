// What a coordinator makes of its store: after a restart, and offline.
#include "coordinator/core.h"

#include <catch2/catch.hpp>

#include "proto/wire.h"
#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
