// The short forms; `make soak` runs the long ones (soak_run). A failure names the seed of its round:
// build/release/tests/bin/soak_run FAULT --first SEED --deaths 1. It replays the round, but for kills, which
// the clock times.
#include <cstdint>
#include <string>

#include <catch2/catch.hpp>

#include "tests/soak/rounds.h"

namespace rung::soak {
namespace {

constexpr int64_t kKills = 300;
constexpr int64_t kCuts = 2000;
constexpr int64_t kCalls = 10'000;

struct Sum {
  int64_t deaths = 0, calls = 0, results = 0, refused = 0, doubled = 0, answers_lost = 0;
};

// Whole rounds, until there were so many deaths and calls.
Sum Run(Fault fault, int64_t deaths, int64_t calls) {
  Sum sum;
  for (uint64_t seed = 0; sum.deaths < deaths || sum.calls < calls; ++seed) {
    INFO("seed " << seed);
    const Outcome outcome = RunRound(fault, seed);
    INFO(outcome.breach.value_or(""));
    REQUIRE_FALSE(outcome.breach.has_value());
    sum.deaths += outcome.deaths;
    sum.calls += outcome.figures.calls;
    sum.results += outcome.figures.results;
    sum.refused += outcome.figures.refused;
    sum.doubled += outcome.figures.doubled;
    sum.answers_lost += outcome.figures.answers_lost;
  }
  return sum;
}

TEST_CASE(
    "300 times kill -9 of the coordinator lose nothing that was acknowledged, and nothing is trained twice") {
  const Sum sum = Run(Fault::kKill, kKills, 0);
  CHECK(sum.results > kKills / 2);  // it was at work when it was killed
}

TEST_CASE("2,000 power cuts under the coordinator's loop lose nothing that was acknowledged") {
  const Sum sum = Run(Fault::kPowerCut, kCuts, 0);
  CHECK(sum.results > kCuts / 2);
  CHECK(sum.refused > 0);  // stale reports came, too
}

// The harness would have noticed.
TEST_CASE("with synchronous=NORMAL the same power cuts lose acknowledged results") {
  constexpr uint64_t kRounds = 20;
  uint64_t losses = 0;
  for (uint64_t seed = 0; seed < kRounds; ++seed)
    losses += RunRound(Fault::kWeakPowerCut, seed).breach.has_value() ? 1 : 0;
  CHECK(losses > kRounds / 2);
}

TEST_CASE("whichever write, sync or removal of a study's commits fails, nothing is told that is not stored") {
  const Fault fault = GENERATE(Fault::kIoError, Fault::kDiskFull);
  const Sum sum = Run(fault, 100, 0);
  CHECK(sum.results > 0);
}

TEST_CASE("10,000 calls, some doubled and some answers lost: nothing is stored twice") {
  const Sum sum = Run(Fault::kNone, 0, kCalls);
  CHECK(sum.doubled > kCalls / 20);
  CHECK(sum.answers_lost > kCalls / 20);
  CHECK(sum.refused > 0);
}

TEST_CASE("a seed replays its round on the lossy disk") {
  const Outcome first = RunRound(Fault::kPowerCut, 3);
  const Outcome second = RunRound(Fault::kPowerCut, 3);
  CHECK(first.deaths == second.deaths);
  CHECK(first.figures.calls == second.figures.calls);
}

}  // namespace
}  // namespace rung::soak
