// rungd and its workers as processes of their own, with nobody over them who starts them again; and the
// undisturbed run that their study is compared with.
#pragma once

#include <signal.h>
#include <stdlib.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "proto/endpoint.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {

constexpr double kStart = 60;   // seconds; far more than a slow machine needs
constexpr double kStudy = 600;  // of a whole study

// How often, from the environment.
inline int Count(const char* name, int otherwise) {
  const char* value = getenv(name);
  return value == nullptr ? otherwise : atoi(value);
}

class Fleet {
 public:
  using Environment = std::vector<std::pair<std::string, std::string>>;
  Fleet(const Site& site, std::string lease_ttl) : site_(site), lease_ttl_(std::move(lease_ttl)) {}

  // Until it has published where it is.
  void StartCoordinator(const Environment& environment = {}) {
    coordinator_ = Start("rungd", {"--lease-ttl", lease_ttl_, "--exit-when-done"}, environment);
    const StateDir dir{site_.state_dir()};
    INFO(site_.Output());
    REQUIRE(WaitFor(kStart, [&] {
      const auto endpoint = ReadEndpoint(dir);
      return endpoint.ok() && endpoint->pid == coordinator_->pid();
    }));
  }
  // False: it had ended by itself.
  bool KillCoordinator() {
    coordinator_->Kill(SIGKILL);
    const std::optional<int> code = coordinator_->Wait(kStart);
    REQUIRE((code == 128 + SIGKILL || code == 0));
    return code != 0;
  }
  void StartWorker(const std::string& slot) {
    workers_.push_back(Start("rung-worker", {"--slot", slot, "--exit-when-done"}, {}));
  }
  // The one that was started last.
  void KillWorker() {
    workers_.back()->Kill(SIGKILL);
    REQUIRE(workers_.back()->Wait(kStart) == 128 + SIGKILL);
    workers_.pop_back();
  }
  // By themselves, when the study is finished.
  void WaitForEnd() {
    const std::optional<int> code = coordinator_->Wait(kStudy);
    INFO(site_.Output());
    REQUIRE(code == 0);
    for (const auto& worker : workers_) CHECK(worker->Wait(kStart) == 0);
    CHECK(site_.Ask({"study", "show"})["state"] == "done");
  }

 private:
  std::unique_ptr<Process> Start(const std::string& program, const std::vector<std::string>& arguments,
                                 const Environment& environment) const {
    Process::Options options;
    options.argv = {std::string(RUNG_BIN_DIR) + "/" + program, "--dir", site_.state_dir()};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.environment = environment;
    options.directory = site_.root();
    options.output_path = site_.root() + "/output";
    return std::make_unique<Process>(options);
  }

  const Site& site_;
  const std::string lease_ttl_;
  std::unique_ptr<Process> coordinator_;
  std::vector<std::unique_ptr<Process>> workers_;
};

// What the study of a Site says when nothing disturbs it; made once.
inline const nlohmann::json& Undisturbed() {
  static const nlohmann::json results = [] {
    const Site site(0.001);
    const auto run = site.Run(1);
    const std::optional<int> code = run->Wait(kStudy);
    INFO(site.Output());
    REQUIRE(code == 0);
    return site.Results();
  }();
  return results;
}

// (trial, rung) -> the attempt whose result counts. Each has one result, and it is no older attempt's than
// that of the newest grant.
inline std::map<std::pair<int64_t, int>, int64_t> CountedAttempts(const Site& site) {
  std::map<std::pair<int64_t, int>, int64_t> counted;
  for (const auto& [trial, row] : Undisturbed().items()) {
    std::map<int, int64_t> granted;
    const nlohmann::json shown = site.Ask({"trial", "show", trial});
    for (const nlohmann::json& event : shown["events"]) {
      const int rung = event["rung"];
      const int64_t attempt = event["attempt"];
      if (event["kind"] == "attempt_granted") granted[rung] = attempt;
      if (event["kind"] != "result") continue;
      INFO("trial " << trial << " rung " << rung << " attempt " << attempt);
      CHECK(attempt == granted[rung]);
      CHECK(counted.emplace(std::make_pair(std::stoll(trial), rung), attempt).second);
    }
  }
  return counted;
}

}  // namespace rung
