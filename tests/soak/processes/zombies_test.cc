// Workers that are frozen until their lease is lost and taken by another, and then go on.
#include "tests/soak/processes/fleet.h"

namespace rung {
namespace {

TEST_CASE("a worker that was frozen past LOST comes back: nothing stale is accepted") {
  const int zombies = Count("SOAK_ZOMBIES", 6);
  for (int done = 0; done < zombies; ++done) {
    const Site site(0.3);
    Fleet fleet(site, "1s");
    fleet.StartCoordinator();
    site.Ask({"study", "create", "study.json"});
    for (const char* slot : {"0", "1"}) fleet.StartWorker(slot);
    const int64_t trial = 1 + done % 9;
    const auto victim = site.WaitForLine(kStart, [&](const TraceLine& line) {
      return line.event == "step" && line.trial == trial && line.step == 2;
    });
    REQUIRE(victim.has_value());
    // The training ends while its worker is frozen: it has a result to report when it thaws.
    REQUIRE(kill(victim->parent, SIGSTOP) == 0);
    const auto successor = site.WaitForLine(kStudy, [&](const TraceLine& line) {
      return line.event == "start" && line.trial == trial && line.rung == victim->rung &&
             line.attempt > victim->attempt;
    });
    REQUIRE(kill(victim->parent, SIGCONT) == 0);
    REQUIRE(successor.has_value());
    CHECK(successor->parent != victim->parent);
    fleet.WaitForEnd();
    const auto counted = CountedAttempts(site);
    INFO("trial " << trial);
    CHECK(counted.at({trial, victim->rung}) > victim->attempt);
    CHECK(site.Results() == Undisturbed());
  }
}

}  // namespace
}  // namespace rung
