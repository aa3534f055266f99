// Many rounds of one fault:
//   soak_run kill|power|weak-power|io-error|disk-full|calls [--first SEED] [--deaths N] [--calls N]
// until there were so many deaths and calls. The first breach is printed with its seed and ends the program
// with 1. With weak-power breaches are what is wanted: it ends with 1 where fewer than half of the rounds
// have one.
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tests/soak/rounds.h"

int main(int argc, char** argv) {
  using rung::soak::Fault;
  const std::map<std::string, Fault> faults = {
      {"kill", Fault::kKill},        {"power", Fault::kPowerCut},     {"weak-power", Fault::kWeakPowerCut},
      {"io-error", Fault::kIoError}, {"disk-full", Fault::kDiskFull}, {"calls", Fault::kNone}};
  const std::string name = argc > 1 ? argv[1] : "";
  if (!faults.contains(name)) {
    absl::FPrintF(stderr, "one of kill, power, weak-power, io-error, disk-full, calls\n");
    return 2;
  }
  const Fault fault = faults.at(name);
  uint64_t first = 0;
  int64_t most_deaths = fault == Fault::kNone ? 0 : 1, most_calls = 1;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--first") first = strtoull(value.c_str(), nullptr, 10);
    if (flag == "--deaths") most_deaths = atoll(value.c_str());
    if (flag == "--calls") most_calls = atoll(value.c_str());
  }
  rung::SystemClock clock;
  const absl::Duration begin = clock.Steady();
  int64_t deaths = 0, calls = 0, results = 0, refused = 0, breaches = 0;
  uint64_t seed = first;
  for (; deaths < most_deaths || calls < most_calls; ++seed) {
    const rung::soak::Outcome outcome = rung::soak::RunRound(fault, seed);
    deaths += outcome.deaths;
    calls += outcome.figures.calls;
    results += outcome.figures.results;
    refused += outcome.figures.refused;
    breaches += outcome.breach.has_value() ? 1 : 0;
    if (outcome.breach.has_value() && fault != Fault::kWeakPowerCut) {
      absl::PrintF("seed %d: %s\n", seed, *outcome.breach);
      return 1;
    }
  }
  absl::PrintF(
      "{\"bench\": \"soak %s\", \"rounds\": %d, \"deaths\": %d, \"calls\": %d, \"acknowledged\": %d,"
      " \"stale_refused\": %d, \"breaches\": %d, \"seconds\": %.1f}\n",
      name, seed - first, deaths, calls, results, refused, breaches,
      absl::ToDoubleSeconds(clock.Steady() - begin));
  const auto rounds = static_cast<int64_t>(seed - first);
  return fault == Fault::kWeakPowerCut && 2 * breaches < rounds ? 1 : 0;
}
