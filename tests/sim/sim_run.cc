// Many seeds of the simulator, or one long run:
//   sim_run [--first N] [--seeds N] [--mutation fencing|idempotency|transaction] [--power-cut SHARE] [--trace
//   yes] sim_run --workers N --hours H
// The first breach is printed with its seed and ends the program with 1.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/sim/simulation.h"

namespace {

using rung::sim::Mutation;
using rung::sim::Setup;

// For the case that the core aborts.
char current_seed[64] = "";

void SayTheSeed(int) {
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, current_seed, strlen(current_seed));
}

// One long study for many workers: every trial in one rung of ten minutes.
Setup Long(int workers, double hours) {
  Setup setup;
  setup.workers = workers;
  setup.faulty = setup.stop_at = absl::Hours(hours);
  setup.people = false;
  setup.unit = absl::Minutes(10);
  setup.checkpoints = 2;
  setup.group = absl::Seconds(1);
  setup.faults.coordinator_life = absl::Hours(4);
  setup.faults.worker_life = absl::Hours(12);
  setup.faults.drop = setup.faults.duplicate = setup.faults.late = 0.001;
  setup.faults.commit_refused = setup.faults.commit_in_doubt = setup.faults.killed_before_answer = 1e-5;
  setup.studies = {R"({"name": "long", "trainer": {"type": "command", "argv": ["true"]},
      "objective": {"metric": "score", "goal": "maximize"}, "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
      "algorithm": {"type": "hyperband"}, "space": {"x": {"low": 0, "high": 1}}, "stop": {"trials": 100000000}})"};
  return setup;
}

Mutation MutationOf(const std::string& name) {
  return name == "fencing"       ? Mutation::kNoFencing
         : name == "idempotency" ? Mutation::kNoIdempotency
         : name == "transaction" ? Mutation::kSplitTransaction
                                 : Mutation::kNone;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t first = 0, seeds = 1;
  int workers = 0;
  double hours = 24, power_cut = 0;
  Mutation mutation = Mutation::kNone;
  bool trace = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--first") first = strtoull(value.c_str(), nullptr, 10);
    if (flag == "--seeds") seeds = strtoull(value.c_str(), nullptr, 10);
    if (flag == "--workers") workers = atoi(value.c_str());
    if (flag == "--hours") hours = atof(value.c_str());
    if (flag == "--power-cut") power_cut = atof(value.c_str());
    if (flag == "--mutation") mutation = MutationOf(value);
    if (flag == "--trace") trace = value == "yes";
  }
  signal(SIGABRT, SayTheSeed);
  rung::SystemClock clock;
  const absl::Duration begin = clock.Steady();
  int64_t steps = 0, events = 0, restarts = 0;
  absl::Duration simulated;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    absl::SNPrintF(current_seed, sizeof(current_seed), "seed %d aborted\n", seed);
    Setup setup = workers > 0 ? Long(workers, hours) : Setup{};
    setup.seed = seed;
    setup.mutation = mutation;
    setup.faults.power_cut = power_cut;
    if (trace) setup.trace = [](const std::string& line) { absl::FPrintF(stderr, "%s\n", line); };
    const rung::sim::Outcome outcome = Simulate(setup);
    steps += outcome.steps;
    events += outcome.events;
    restarts += outcome.restarts;
    simulated += outcome.time;
    if (outcome.breach.has_value()) {
      absl::PrintF("seed %d: %s\n", seed, *outcome.breach);
      return 1;
    }
  }
  absl::PrintF(
      "{\"bench\": \"simulator\", \"seeds\": %d, \"simulated_hours\": %.1f, \"steps\": %d, \"events\": %d,"
      " \"restarts\": %d, \"seconds\": %.2f}\n",
      seeds, absl::ToDoubleHours(simulated), steps, events, restarts,
      absl::ToDoubleSeconds(clock.Steady() - begin));
  return 0;
}
