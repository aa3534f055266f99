// kill -9 of rungd, of a worker and of both at moments that a random kill hardly meets (docs/reliability.md,
// "Crash points", 4 and 5): the trainer stops itself there and waits.
#include "base/file.h"
#include "tests/soak/processes/fleet.h"

namespace rung {
namespace {

bool IsStopped(pid_t pid) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const size_t end = stat.rfind(')');
  return end != std::string::npos && stat.compare(end, 3, ") T") == 0;
}

// The trainer of a trial in the middle of the study, stopped at the moment that the freeze file names.
TraceLine Frozen(const Site& site) {
  const auto frozen = site.WaitForLine(kStart, [](const TraceLine& line) { return line.event == "frozen"; });
  REQUIRE(frozen.has_value());
  REQUIRE(WaitFor(kStart, [&] { return IsStopped(frozen->pid); }));
  return *frozen;
}

TEST_CASE(
    "kill -9 where a lease was received and nothing is trained, and where a checkpoint is half written") {
  struct Row {
    const char* moment;
    bool kills_coordinator;
    bool kills_worker;
  };
  constexpr Row kRows[] = {
      {"start", true, false},      {"start", false, true},      {"start", true, true},
      {"checkpoint", true, false}, {"checkpoint", false, true}, {"checkpoint", true, true},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.moment, row.kills_coordinator, row.kills_worker);
    const Site site(0.02);
    Fleet fleet(site, "10s");
    fleet.StartCoordinator();
    site.Ask({"study", "create", "study.json"});
    REQUIRE(WriteFileAtomic(site.freeze_file(), std::string(row.moment) + " 2").ok());
    fleet.StartWorker("0");
    const TraceLine frozen = Frozen(site);
    CHECK(frozen.attempt == 1);
    if (row.kills_coordinator) REQUIRE(fleet.KillCoordinator());
    if (row.kills_worker) fleet.KillWorker();
    if (row.kills_coordinator) fleet.StartCoordinator();
    if (row.kills_worker) {
      CHECK(WaitFor(kStart, [&] { return !Lives(frozen.pid); }));  // a worker takes its trainer along
      fleet.StartWorker("0");
    } else {
      REQUIRE(kill(frozen.pid, SIGCONT) == 0);
    }
    fleet.WaitForEnd();
    CountedAttempts(site);
    CHECK(site.Results() == Undisturbed());
    // Where the worker lived the attempt did too; else there is one more, from a whole checkpoint.
    const bool at_checkpoint = std::string(row.moment) == "checkpoint";
    for (const TraceLine& line : site.Trace()) {
      if (line.event != "start") continue;
      INFO("trial " << line.trial << " rung " << line.rung << " attempt " << line.attempt);
      const bool again = line.trial == frozen.trial && line.rung == frozen.rung && line.attempt > 1;
      CHECK(line.attempt == (again && row.kills_worker ? 2 : 1));
      if (again && at_checkpoint) CHECK(line.step < frozen.step);  // what was half written is not taken
    }
  }
}

}  // namespace
}  // namespace rung
