// What people ask of studies.
#include <catch2/catch.hpp>
#include <string>

#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
