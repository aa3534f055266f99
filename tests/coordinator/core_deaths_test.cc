// Poison told from bad machines: hosts on which too much died, and trials that died on too many hosts.
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>

#include "coordinator/deaths.h"
#include "coordinator/reads.h"
#include "tests/coordinator/core_world.h"

namespace rung {
namespace {

constexpr absl::Duration kLater = Deaths::kExcludedFor;

// One worker each on x and y, two on z; trials are granted in the order of their numbers.
struct Cluster : World {
  explicit Cluster(const std::string& study = kStudy) {
    Create(study);
    Join("0", "a", "", "x");
    Join("0", "a", "", "y");
    Join("0", "a", "", "z");
    Join("1", "a", "", "z");
  }
  static v1::LeaseRequest RequestOf(const std::string& worker, double wait = 0) {
    v1::LeaseRequest request;
    request.set_worker(worker);
    request.set_instance("a");
    request.set_wait_seconds(wait);
    return request;
  }
  // The trial that the worker gets; 0: none, it waits.
  int64_t Take(const std::string& worker) {
    const auto response = Call<v1::LeaseResponse>(RequestOf(worker));
    REQUIRE(response.ok());
    if (!response->has_attempt()) CHECK(response->idle() == v1::IDLE_REASON_WAIT);
    held_[worker] = response->attempt();
    return response->attempt().key().trial();
  }
  // Its trainer is killed, by the machine as far as anybody can tell.
  void Kill(const std::string& worker) {
    v1::ReleaseRequest request;
    request.set_worker(worker);
    request.set_instance("a");
    request.set_reason(v1::LOSS_REASON_KILLED);
    *request.mutable_attempt() = held_[worker].key();
    REQUIRE(Call<v1::ReleaseResponse>(request).ok());
  }
  void Finish(const std::string& worker) {
    REQUIRE(Call<v1::ReportResponse>(ReportOf(held_[worker], 1, "r" + worker)).ok());
  }
  std::map<std::string, v1::Attempt> held_;
};

}  // namespace

TEST_CASE("a host on which two trials died gets no work for a while") {
  Cluster cluster;
  REQUIRE(cluster.Take("x-0") == 1);
  cluster.Kill("x-0");
  REQUIRE(cluster.Take("x-0") == 1);  // the same trial twice: it may be the trial
  cluster.Kill("x-0");
  REQUIRE(cluster.Take("y-0") == 1);
  REQUIRE(cluster.Take("x-0") == 2);
  cluster.Kill("x-0");
  CHECK(cluster.Take("x-0") == 0);
  const auto list = Answer(cluster.core_, cluster.now_.steady, v1::ListWorkersRequest());
  REQUIRE(list.ok());
  CHECK(list->workers(0).name() == "x-0");
  CHECK(list->workers(0).message() == "no work for some minutes: two trials died on its host");
  CHECK(list->workers(1).message().empty());
  CHECK(cluster.Take("z-0") == 2);  // the one behind it gets what it does not
  cluster.Finish("y-0");
  cluster.Finish("z-0");
  cluster.Pass(kLater - absl::Seconds(1));
  CHECK(cluster.Take("x-0") == 0);
  cluster.Pass(absl::Seconds(1));
  CHECK(cluster.Take("x-0") == 3);
}

TEST_CASE("a worker that waits on such a host does not keep those behind it waiting") {
  Cluster cluster;
  REQUIRE(cluster.Take("y-0") == 1);
  REQUIRE(cluster.Take("x-0") == 2);
  cluster.Kill("x-0");
  cluster.Kill("y-0");
  REQUIRE(cluster.Take("x-0") == 1);
  cluster.Kill("x-0");
  const int64_t first = cluster.Send(Cluster::RequestOf("x-0", 30));
  const int64_t second = cluster.Send(Cluster::RequestOf("z-0", 30));
  CHECK_FALSE(cluster.statuses_.contains(first));
  CHECK(cluster.statuses_.contains(second));
}

TEST_CASE("where it would leave none, no host is excluded") {
  World world;
  world.Create();
  world.Join("0", "a");
  world.Join("1", "a");
  for (const char* slot : {"0", "1"}) world.Get(slot, "a");
  for (const char* slot : {"0", "1"}) {
    world.Send(ProcessGone{std::string("h-") + slot, "a"});
    world.Join(slot, "b");
  }
  CHECK(world.Count(EventKind::kAttemptLost) == 2);
  CHECK(world.Get("0", "b").key().trial() == 1);
  CHECK(world.Get("1", "b").key().trial() == 2);
}

TEST_CASE("a trial that died on two hosts runs alone until it gets on") {
  Cluster cluster;
  for (const char* worker : {"x-0", "y-0"}) {
    REQUIRE(cluster.Take(worker) == 1);
    cluster.Kill(worker);
  }
  REQUIRE(cluster.Take("z-0") == 1);
  const int64_t beside = cluster.Send(Cluster::RequestOf("z-1", 30));
  CHECK_FALSE(cluster.statuses_.contains(beside));
  CHECK(cluster.Take("x-0") == 2);  // elsewhere the work goes on
  SECTION("it writes a checkpoint") {
    v1::ProgressRequest progress = World::BeatOf(cluster.held_["z-0"]);
    progress.set_worker("z-0");
    progress.set_checkpointed(true);
    progress.set_budget(0.5);
    REQUIRE(cluster.Call<v1::ProgressResponse>(progress).ok());
  }
  SECTION("it ends") {
    cluster.Finish("z-0");
  }
  CHECK(cluster.statuses_.contains(beside));
}

TEST_CASE("a trial that is given up after it died on several hosts blames none of them") {
  Cluster cluster;
  for (const char* worker : {"x-0", "y-0", "x-0", "y-0", "x-0"}) {
    REQUIRE(cluster.Take(worker) == 1);
    cluster.Kill(worker);
  }
  CHECK(cluster.core_.studies().begin()->second.study.trial(TrialId{1}).cause ==
        FailureCause::kInfrastructure);
  REQUIRE(cluster.Take("x-0") == 2);
  cluster.Kill("x-0");
  CHECK(cluster.Take("x-0") == 2);
}

TEST_CASE("one host that wears out a trial keeps the blame") {
  Cluster cluster;
  for (int i = 0; i < Study::kMaxLosses; ++i) {
    REQUIRE(cluster.Take("x-0") == 1);
    cluster.Kill("x-0");
  }
  REQUIRE(cluster.Take("x-0") == 2);
  cluster.Kill("x-0");
  CHECK(cluster.Take("x-0") == 0);
}

TEST_CASE("what ends by order, or with an earlier coordinator, says nothing about a host") {
  Cluster cluster;
  REQUIRE(cluster.Take("z-0") == 1);
  REQUIRE(cluster.Take("z-1") == 2);
  SECTION("evicted") {
    for (const char* worker : {"z-0", "z-1"}) {
      v1::EndWorkerRequest evict;
      evict.set_worker(worker);
      evict.set_evict(true);
      REQUIRE(cluster.Call<v1::EndWorkerResponse>(evict).ok());
    }
  }
  SECTION("granted by a coordinator that ended") {
    cluster.Restart();
    for (const char* host : {"x", "y"}) cluster.Join("0", "a", "", host);
    for (const char* worker : {"z-0", "z-1"}) cluster.Send(ProcessGone{worker, "a"});
  }
  CHECK(cluster.Count(EventKind::kAttemptLost) == 2);
  cluster.Join("2", "a", "", "z");
  CHECK(cluster.Take("z-2") == 1);
}

TEST_CASE("an evaluation that is given back accuses no host: its checkpoint may be missing") {
  nlohmann::json study = nlohmann::json::parse(kStudy);
  study["trainer"]["test"] = "test.csv";
  study["stop"] = {{"trials", 3}};
  Cluster cluster(study.dump());
  REQUIRE(cluster.Take("x-0") == 1);
  cluster.Kill("x-0");
  v1::Attempt& held = cluster.held_["x-0"];
  while (cluster.Take("x-0") != 0 && held.key().kind() != v1::ATTEMPT_KIND_EVALUATE) {
    const v1::Attempt attempt = held;
    const double score = static_cast<double>(attempt.key().trial());
    REQUIRE(cluster.Call<v1::ReportResponse>(World::ReportOf(attempt, score, attempt.checkpoint_dir())).ok());
  }
  REQUIRE(held.key().kind() == v1::ATTEMPT_KIND_EVALUATE);
  REQUIRE(held.key().trial() == 3);  // another trial than the one that died here
  cluster.Kill("x-0");
  CHECK(cluster.Take("x-0") == 3);
}

TEST_CASE("outages, in which the coordinator went down with the worker, never fail a trial") {
  Cluster cluster;
  for (int i = 0; i <= Study::kMaxLosses; ++i) {
    CAPTURE(i);
    cluster.Join("0", "a", "", "x");
    REQUIRE(cluster.Take("x-0") == 1);
    cluster.Restart();
    cluster.Join("0", "a", "", "y");
    cluster.Send(ProcessGone{"x-0", "a"});
    CHECK(cluster.events_.back().event.loss == LossReason::kOutage);
  }
  CHECK(cluster.Take("y-0") == 1);
}

TEST_CASE("an attempt that went on after the coordinator's restart dies as any other") {
  Cluster cluster;
  REQUIRE(cluster.Take("x-0") == 1);
  cluster.Restart();
  cluster.Join("0", "a", "", "x");
  v1::ProgressRequest progress = World::BeatOf(cluster.held_["x-0"]);
  progress.set_worker("x-0");
  REQUIRE(cluster.Call<v1::ProgressResponse>(progress).ok());
  cluster.Send(ProcessGone{"x-0", "a"});
  CHECK(cluster.events_.back().event.loss == LossReason::kLost);
}

TEST_CASE("a death is forgotten after a while, a suspicion is not") {
  Deaths deaths;
  const Deaths::Trial first{StudyId{1}, TrialId{1}}, second{StudyId{1}, TrialId{2}};
  deaths.Add(first, "x", absl::Seconds(0));
  deaths.Add(second, "x", kLater);
  CHECK_FALSE(deaths.Excluded("x", kLater));
  deaths.Add(first, "x", kLater);
  CHECK(deaths.Excluded("x", 2 * kLater - absl::Seconds(1)));
  CHECK_FALSE(deaths.Excluded("x", 2 * kLater));
  CHECK(deaths.suspects().empty());
  deaths.Add(first, "y", 9 * kLater);
  CHECK(deaths.suspects() == std::set<Deaths::Trial>{first});
  deaths.GotOn(first);
  CHECK(deaths.suspects().empty());
}

}  // namespace rung
