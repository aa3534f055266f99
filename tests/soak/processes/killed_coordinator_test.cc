// The real rungd under real workers: killed again and again, away for long, with a clock that jumps.
#include <stdio.h>

#include <fstream>
#include <set>

#include "base/clock.h"
#include "search/rng.h"
#include "tests/soak/processes/fleet.h"

namespace rung {
namespace {

// No rung began again after it had ended, and none in a second attempt: no lease was lost.
void CheckTrainedOnce(const Site& site) {
  std::set<std::pair<int64_t, int>> ended;
  for (const TraceLine& line : site.Trace()) {
    INFO("trial " << line.trial << " rung " << line.rung << " attempt " << line.attempt);
    CHECK(line.attempt == 1);
    if (line.event == "start") CHECK(!ended.contains({line.trial, line.rung}));
    if (line.event == "end") ended.emplace(line.trial, line.rung);
  }
}

TEST_CASE("kill -9 of rungd at random moments: its workers go on, and the study is what it would have been") {
  const int kills = Count("SOAK_REAL_KILLS", 40);
  Rng rng(static_cast<uint64_t>(Count("SOAK_SEED", 1)), 0x72756e6764);
  int done = 0;
  while (done < kills) {
    const Site site(0.05);
    Fleet fleet(site, "10s");
    fleet.StartCoordinator();
    site.Ask({"study", "create", "study.json"});
    for (const char* slot : {"0", "1"}) fleet.StartWorker(slot);
    REQUIRE(site.WaitForLine(kStart, [](const TraceLine&) { return true; }).has_value());
    for (int i = 0; i < 10 && done < kills; ++i, ++done) {
      // Not a wait for anything: the moment is the point.
      WaitFor(0.4 * rng.Uniform(), [] { return false; });
      if (!fleet.KillCoordinator()) break;  // the study is finished
      fleet.StartCoordinator();
    }
    fleet.WaitForEnd();
    CheckTrainedOnce(site);
    CountedAttempts(site);
    CHECK(site.Results() == Undisturbed());
  }
}

TEST_CASE("a coordinator that is away for two minutes: its workers come back, and nothing is trained twice") {
  const int outage = Count("SOAK_OUTAGE_SECONDS", 120);
  constexpr int kWorkers = 4;
  const Site site(0.25);
  Fleet fleet(site, "60s");
  fleet.StartCoordinator();
  site.Ask({"study", "create", "study.json"});
  for (int i = 0; i < kWorkers; ++i) fleet.StartWorker(std::to_string(i));
  REQUIRE(WaitFor(kStart, [&] { return site.Ask({"worker", "list"})["workers"].size() == kWorkers; }));
  REQUIRE(site.WaitForLine(kStart, [](const TraceLine& line) { return line.step == 2; }).has_value());
  REQUIRE(fleet.KillCoordinator());
  WaitFor(outage, [] { return false; });
  fleet.StartCoordinator();
  const absl::Duration begin = SystemClock().Steady();
  const bool back = WaitFor(kStart, [&] {
    int there = 0;
    const nlohmann::json listed = site.Ask({"worker", "list"});
    for (const nlohmann::json& worker : listed["workers"])
      there += worker["state"] == "busy" || worker["state"] == "idle" ? 1 : 0;
    return there == kWorkers;
  });
  CHECK(back);
  printf("{\"bench\": \"outage\", \"outage_s\": %d, \"workers\": %d, \"all_back_s\": %.2f}\n", outage,
         kWorkers, absl::ToDoubleSeconds(SystemClock().Steady() - begin));
  fleet.WaitForEnd();
  CheckTrainedOnce(site);
  CHECK(site.Results() == Undisturbed());
}

TEST_CASE("the wall clock of rungd jumps a day ahead and a day back: leases and results stay") {
  const Site site(0.4);
  const std::string offset = site.root() + "/clock";
  const auto jump = [&](int64_t seconds) { std::ofstream(offset) << seconds; };
  jump(0);
  Fleet fleet(site, "2s");
  fleet.StartCoordinator({{"LD_PRELOAD", RUNG_MOVED_CLOCK_LIBRARY}, {"RUNG_TEST_CLOCK", offset}});
  site.Ask({"study", "create", "study.json"});
  fleet.StartWorker("0");
  const auto reaches = [&](int64_t trial) {
    return site.WaitForLine(kStudy, [trial](const TraceLine& line) { return line.trial == trial; })
        .has_value();
  };
  REQUIRE(reaches(2));
  jump(86'400);
  REQUIRE(reaches(4));
  jump(-86'400);
  REQUIRE(reaches(6));
  fleet.WaitForEnd();
  CheckTrainedOnce(site);
  CHECK(site.Results() == Undisturbed());
  // The clock did jump: what came later in the log is dated earlier.
  const auto granted_at = [&](const char* trial) -> std::string {
    const nlohmann::json shown = site.Ask({"trial", "show", trial});
    for (const nlohmann::json& event : shown["events"]) {
      if (event["kind"] == "attempt_granted") return event["at"];
    }
    return "";
  };
  CHECK(granted_at("6") < granted_at("1"));
  CHECK(granted_at("1") < granted_at("4"));
}

}  // namespace
}  // namespace rung
