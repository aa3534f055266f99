// How long a coordinator that starts again takes until it knows everything: the store is opened and the core
// made from it. The store is one study's, by the study's own decisions, with a worker that scores at once.
//
// restart_bench [TRIALS [ALGORITHM]]: builds it in the directory for temporary files, loads it three times,
// and prints the median as bench/figure_line.py does. Exit 1 where 1e6 trials took longer than the bar.
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "coordinator/recovery.h"
#include "search/study.h"
#include "storage/study_store.h"

namespace rung {
namespace {

constexpr double kBarSeconds = 3;
constexpr int64_t kBarTrials = 1'000'000;
constexpr size_t kEventsPerCommit = 20'000;
constexpr StudyId kStudy{1};

class NothingKnown final : public KnownResults {
 public:
  std::optional<Known> Find(const std::string& /*identity*/) const override { return std::nullopt; }
  bool InTraining(const std::string& /*identity*/) const override { return false; }
};

double Loss(const Config& config) {
  double loss = 0;
  for (const auto& [name, value] : config) {
    if (const auto* x = std::get_if<double>(&value)) loss += (*x - .3) * (*x - .3);
    if (const auto* c = std::get_if<std::string>(&value)) loss += *c == "a" ? 0 : .2;
  }
  return loss;
}

StudySpec SpecOf(const std::string& algorithm, int64_t trials) {
  nlohmann::json space;
  for (int i = 0; i < 8; ++i) space["x" + std::to_string(i)] = {{"low", 0.0}, {"high", 1.0}};
  for (int i = 0; i < 4; ++i) space["c" + std::to_string(i)] = {"a", "b", "c", "d", "e"};
  const nlohmann::json study = {{"name", "restart"},
                                {"trainer", {{"type", "command"}}},
                                {"objective", {{"metric", "loss"}, {"goal", "minimize"}}},
                                {"budget", {{"min", 1}, {"max", algorithm == "random" ? 1 : 81}}},
                                {"algorithm", {{"type", algorithm}}},
                                {"stop", {{"trials", trials}}},
                                {"space", space}};
  absl::StatusOr<StudySpec> spec = StudySpec::Parse(study.dump(), "restart_bench", "/");
  RUNG_CHECK(spec.ok(), "a study");
  return *std::move(spec);
}

// The number of its events.
int64_t Build(const std::string& path, const StudySpec& spec) {
  const auto store = StudyStore::Open(path);
  RUNG_CHECK(store.ok(), "a store");
  Batch batch;
  StudyRecord record;
  record.id = kStudy;
  record.name = spec.name;
  record.canonical_json = spec.CanonicalJson();
  record.created_at = absl::UnixEpoch();
  batch.studies.push_back(std::move(record));
  Study study(kStudy, spec, {});
  int64_t next_seq = 1;
  const Stamp now{absl::UnixEpoch(), next_seq};
  const auto keep = [&batch](std::vector<Event> events) {
    for (Event& event : events) batch.events.push_back({kStudy, std::move(event)});
  };
  while (true) {
    Decision decision = study.NextWork(NothingKnown(), now);
    keep(std::move(decision.events));
    if (decision.job.has_value()) {
      const Job job = *decision.job;
      const Event granted = study.Grant(job, "worker-0", now);
      keep({granted});
      ResultValues result;
      result.values[spec.objective.metric] = Loss(study.trial(job.trial).config) + .1 * (4 - job.rung);
      result.charged = 1;
      result.device_seconds = 1;
      keep(study.OnResult(job, granted.attempt, result, now));
    }
    if (!decision.job.has_value() || batch.events.size() >= kEventsPerCommit) {
      RUNG_CHECK((*store)->Append(batch).ok(), "a commit");
      batch = {};
    }
    if (!decision.job.has_value()) return next_seq - 1;
  }
}

// What rungd does between its lock and its socket.
double Restart(const std::string& path, int64_t trials) {
  const auto start = std::chrono::steady_clock::now();
  const auto store = StudyStore::Open(path);
  RUNG_CHECK(store.ok(), "the store");
  absl::StatusOr<Core> core = LoadCore(CoreOptions{}, **store);
  RUNG_CHECK(core.ok(), "its core");
  core->Start(Now{absl::UnixEpoch(), absl::ZeroDuration()});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RUNG_CHECK(core->studies().at(kStudy).study.Has(TrialId{trials}), "all trials");
  return took.count();
}

int Measure(int64_t trials, const std::string& algorithm) {
  std::string directory = (std::filesystem::temp_directory_path() / "rung-restart-XXXXXX").string();
  RUNG_CHECK(mkdtemp(directory.data()) != nullptr, "a directory for temporary files");
  const std::string path = directory + "/rung.db";
  const int64_t events = Build(path, SpecOf(algorithm, trials));
  const auto bytes = static_cast<long long>(std::filesystem::file_size(path));
  std::array<double, 3> seconds{};
  for (double& each : seconds) each = Restart(path, trials);
  std::filesystem::remove_all(directory);
  std::sort(seconds.begin(), seconds.end());
  const bool promised = trials == kBarTrials;
  std::printf(
      "{\"bench\": \"service\", \"figure\": \"restart_seconds\", \"rung\": %.3f, \"peer\": %s, "
      "\"peer_name\": %s, \"ratio\": %s, \"algorithm\": \"%s\", \"trials\": %lld, \"events\": %lld, "
      "\"size_bytes\": %lld}\n",
      seconds[1], promised ? absl::StrFormat("%g", kBarSeconds).c_str() : "null",
      promised ? "\"promised\"" : "null",
      promised ? absl::StrFormat("%.2f", kBarSeconds / seconds[1]).c_str() : "null", algorithm.c_str(),
      static_cast<long long>(trials), static_cast<long long>(events), bytes);
  return promised && seconds[1] > kBarSeconds ? 1 : 0;
}

}  // namespace
}  // namespace rung

int main(int count, char** arguments) {
  int64_t trials = rung::kBarTrials;
  if (count > 1) RUNG_CHECK(absl::SimpleAtoi(arguments[1], &trials) && trials > 0, "a number of trials");
  return rung::Measure(trials, count > 2 ? arguments[2] : "hyperband");
}
