#include "coordinator/metrics.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "tests/coordinator/demo_study.h"
#include "tests/scratch.h"

namespace rung {
namespace {

// A core with a study, a worker at work and one that waits.
std::string TextOfBusyCore() {
  CoreOptions options;
  options.dir = StateDir{"/state"};
  options.build = "rung \"x\"\\y";
  options.term = 4;
  Core core(options);
  const Now now{absl::FromUnixSeconds(1'700'000'000), absl::Seconds(1000)};
  core.Start(now);
  const auto say = [&](const decltype(Command::body)& body) {
    core.Apply(Command{0, body}, now);
    core.Settle(now);
    core.Take();
  };
  v1::CreateStudyRequest create;
  create.set_canonical_json(kStudy);
  say(create);
  for (const char* slot : {"0", "1"}) {
    v1::RegisterRequest request;
    request.set_slot(slot);
    request.set_instance("a");
    request.mutable_process()->set_host("h");
    say(request);
  }
  v1::LeaseRequest lease;
  lease.set_worker("h-0");
  lease.set_instance("a");
  say(lease);
  LoopFigures loop;
  loop.calls = 7;
  loop.commits.Add(absl::Milliseconds(1));
  loop.commits.Add(absl::Milliseconds(3));
  loop.commits.Add(absl::Seconds(60));
  return MetricsText(core, loop, ProcessFigures{1.7e9, 50'000'000, 4096, 9'000'000'000}, now.steady);
}

TEST_CASE("a duration falls into the first bucket that holds it") {
  Histogram histogram;
  histogram.Add(absl::Milliseconds(1));
  histogram.Add(absl::Milliseconds(2));
  histogram.Add(absl::Hours(1));
  CHECK(histogram.AtMost(0) == 0);
  CHECK(histogram.AtMost(1) == 1);
  CHECK(histogram.AtMost(2) == 2);
  CHECK(histogram.AtMost(Histogram::kBounds.size() - 1) == 2);
  CHECK(histogram.count() == 3);
  CHECK(histogram.sum_seconds() == Approx(3600.003));
}

TEST_CASE("the metrics say what the coordinator has") {
  const std::string text = TextOfBusyCore();
  CAPTURE(text);
  for (const char* line :
       {"rung_build_info{version=\"rung \\\"x\\\"\\\\y\"} 1\n", "rung_term 4\n", "rung_calls_total 7\n",
        "rung_commit_seconds_bucket{le=\"0.001\"} 1\n", "rung_commit_seconds_bucket{le=\"0.005\"} 2\n",
        "rung_commit_seconds_bucket{le=\"+Inf\"} 3\n", "rung_commit_seconds_count 3\n",
        "rung_workers{state=\"busy\"} 1\n", "rung_workers{state=\"idle\"} 1\n",
        "rung_study_state{study=\"demo\",state=\"running\"} 1\n",
        "rung_trials{study=\"demo\",state=\"running\"} 1\n", "rung_attempts_running{study=\"demo\"} 1\n",
        "rung_free_disk_bytes 9000000000\n"}) {
    INFO(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

// What Prometheus' own checker demands, and its naming rules: https://prometheus.io/docs/practices/naming/.
TEST_CASE("the metrics keep the rules of Prometheus") {
  const std::string text = TextOfBusyCore();
  REQUIRE(text.back() == '\n');
  const std::regex sample(
      "([a-z_]+)(\\{([a-z]+=\"(?:[^\"\\\\\n]|\\\\[\\\\\"n])*\",?)+\\})? (-?[0-9.e+-]+|NaN|[+-]Inf)");
  std::map<std::string, std::string> types;
  std::set<std::string> helped, seen;
  std::string name;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(text.substr(0, text.size() - 1), '\n'))) {
    INFO(line);
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (words.size() == 4 && words[1] == "HELP") {
      CHECK(helped.insert(words[2]).second);
      CHECK(words[3].back() == '.');
      continue;
    }
    if (words.size() == 4 && words[1] == "TYPE") {
      name = words[2];
      CHECK(helped.contains(name));
      CHECK(types.emplace(name, words[3]).second);  // the samples of a metric stand together
      CHECK((words[3] == "counter") == name.ends_with("_total"));
      continue;
    }
    std::smatch found;
    REQUIRE(std::regex_match(line, found, sample));
    const std::string base =
        types[name] == "histogram"
            ? std::regex_replace(std::string(found[1]), std::regex("_(bucket|sum|count)$"), "")
            : std::string(found[1]);
    CHECK(base == name);
    CHECK(seen.insert(line.substr(0, line.rfind(' '))).second);  // no sample twice
  }
  for (const auto& [metric, type] : types) {
    INFO(metric);
    CHECK((metric.rfind("rung_", 0) == 0 || metric.rfind("process_", 0) == 0));
    CHECK_FALSE(std::regex_search(metric, std::regex("_(ms|milliseconds|minutes|hours|kb|mb|percent)(_|$)")));
  }
}

// The real one, where it is installed (Debian: prometheus).
TEST_CASE("promtool accepts the metrics") {
  if (access("/usr/bin/promtool", X_OK) != 0) {
    WARN("promtool is not installed");
    return;
  }
  const Scratch scratch;
  REQUIRE(WriteFileAtomic(scratch.path("metrics"), TextOfBusyCore()).ok());
  const pid_t child = fork();
  if (child == 0) {
    if (freopen(scratch.path("metrics").c_str(), "r", stdin) == nullptr) _exit(126);
    execl("/usr/bin/promtool", "promtool", "check", "metrics", nullptr);
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace rung
