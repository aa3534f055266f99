// Which attempts workers get.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
