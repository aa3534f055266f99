// What workers say of their attempts.
#include <catch2/catch.hpp>
#include <limits>

#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

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

}  // namespace
}  // namespace rung
