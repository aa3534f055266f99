// Seeds of the simulator. A failure prints the seed: replay it with build/release/tests/bin/sim_run --first
// SEED --seeds 1.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

#include "tests/sim/simulation.h"

namespace rung::sim {
namespace {

constexpr uint64_t kSeeds = 2000;  // or $RUNG_SIM_SEEDS: under a sanitizer each takes long
constexpr uint64_t kSeedsToCatch = 1000;
constexpr absl::Duration kNever = absl::Hours(1'000'000);
constexpr uint64_t kTornSeeds = 25;  // on a disk whose every sync copies it

uint64_t Seeds() {
  const char* wanted = getenv("RUNG_SIM_SEEDS");
  return wanted == nullptr ? kSeeds : std::stoull(wanted);
}

TEST_CASE("whatever happens, what must hold holds and every study ends") {
  int64_t restarts = 0;
  const uint64_t seeds = Seeds();
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    INFO("seed " << seed);  // before it runs: the core may abort
    Setup setup;
    setup.seed = seed;
    const Outcome outcome = Simulate(setup);
    restarts += outcome.restarts;
    INFO(outcome.breach.value_or(""));
    REQUIRE_FALSE(outcome.breach.has_value());
  }
  CHECK(restarts > static_cast<int64_t>(seeds));  // the coordinator was interrupted, too
}

TEST_CASE("a disk that fails and tears costs nothing that was acknowledged") {
  int64_t power_cuts = 0;
  for (uint64_t seed = 0; seed < kTornSeeds; ++seed) {
    INFO("seed " << seed);
    Setup setup;
    setup.seed = seed;
    setup.faults.power_cut = 0.02;
    const Outcome outcome = Simulate(setup);
    power_cuts += outcome.power_cuts;
    INFO(outcome.breach.value_or(""));
    REQUIRE_FALSE(outcome.breach.has_value());
  }
  CHECK(power_cuts > static_cast<int64_t>(kTornSeeds));
}

// Without the exclusion it takes a trial every half minute: some 80 of them in the 40 minutes that the others
// need.
TEST_CASE("a host on which everything dies is left alone") {
  Setup setup;
  setup.seed = GENERATE(range(0, 5));
  setup.faults = Faults{0, 0, 0, 0, 0, 0, 0, kNever, kNever, kNever, 0, 0, 0};
  setup.people = false;
  setup.bad_hosts = 1;
  setup.unit = absl::Seconds(10);
  setup.studies = {R"({"name": "short", "trainer": {"type": "command", "argv": ["true"]},
      "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 9, "max": 9, "eta": 3},
      "algorithm": {"type": "random"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"trials": 100}})"};
  const Outcome outcome = Simulate(setup);
  INFO(outcome.breach.value_or(""));
  CHECK_FALSE(outcome.breach.has_value());
  INFO(absl::FormatDuration(outcome.time));
  CHECK(outcome.lost.at("host0-0") >= 2);
  CHECK(outcome.lost.at("host0-0") < 50);
}

TEST_CASE("a seed replays its run") {
  Setup setup;
  setup.seed = 17;
  setup.faults.power_cut = GENERATE(0.0, 0.02);
  const Outcome first = Simulate(setup);
  const Outcome second = Simulate(setup);
  CHECK(first.time == second.time);
  CHECK(first.steps == second.steps);
  CHECK(first.events == second.events);
}

// In a process of its own: the core may notice by itself that its state is impossible, and abort.
bool Caught(Mutation mutation, uint64_t seed) {
  const pid_t child = fork();
  if (child == 0) {
    fclose(stderr);
    Setup setup;
    setup.seed = seed;
    setup.mutation = mutation;
    _exit(Simulate(setup).breach.has_value() ? 1 : 0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST_CASE("what is switched off is missed") {
  CHECK_FALSE(Caught(Mutation::kNone, 0));  // else it is this test's own way that fails
  const auto [mutation, name] =
      GENERATE(table<Mutation, const char*>({{Mutation::kNoFencing, "fencing"},
                                             {Mutation::kNoIdempotency, "idempotency"},
                                             {Mutation::kSplitTransaction, "one transaction"}}));
  uint64_t seed = 0;
  while (seed < kSeedsToCatch && !Caught(mutation, seed)) ++seed;
  INFO(name);
  CHECK(seed < kSeedsToCatch);
  WARN(name << " switched off: caught by seed " << seed);
}

}  // namespace
}  // namespace rung::sim
