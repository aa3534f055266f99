// Which checkpoints are kept, and results copied.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
