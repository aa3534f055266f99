// Workers that fall silent, die, are told to leave, or have nothing to do.
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

constexpr char kTwoTrials[] = R"({"name": "two", "trainer": {"type": "command", "argv": ["true"]},
  "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 9, "max": 9, "eta": 3},
  "algorithm": {"type": "random"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"trials": 2}, "seed": 7})";

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

TEST_CASE("a proof about an older process changes nothing") {
  World world;
  world.Join("0", "a");
  world.Join("0", "b");
  world.Create();
  world.Get("0", "b");
  world.Send(ProcessGone{"h-0", "a"});
  CHECK(world.Count(EventKind::kAttemptLost) == 0);
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

}  // namespace
}  // namespace rung
