// How long an algorithm takes to propose a config after N results, and auto to decide which config goes
// where: one JSON line {"results", "p50_ms", "p99_ms"} per N. The space: 8 floats on [0, 1] and 4
// categoricals of 5, as in ask_time.py.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "base/check.h"
#include "search/samplers/sampler.h"
#include "search/study.h"

namespace rung {
namespace {

double Loss(const Config& config) {
  double loss = 0;
  for (const auto& [name, value] : config) {
    if (const auto* x = std::get_if<double>(&value)) loss += (*x - .3) * (*x - .3);
    if (const auto* c = std::get_if<std::string>(&value)) loss += *c == "a" ? 0 : .2;
  }
  return loss;
}

void Print(const std::string& algorithm, int results, std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("{\"algorithm\": \"%s\", \"results\": %d, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n",
              algorithm.c_str(), results, milliseconds[milliseconds.size() / 2],
              milliseconds[milliseconds.size() * 99 / 100]);
  std::fflush(stdout);
}

class NothingKnown final : public KnownResults {
 public:
  std::optional<Known> Find(const std::string& /*identity*/) const override { return std::nullopt; }
  bool InTraining(const std::string& /*identity*/) const override { return false; }
};

// A study of type auto with so many results at the lowest rung, of random configs.
class AutoStudy {
 public:
  AutoStudy(const StudySpec& spec, int results) : study_({1}, spec, {}) {
    for (int i = 1; i <= results; ++i) {
      Rng rng(1, static_cast<uint64_t>(i));
      Event event;
      event.job.trial = {i};
      event.bracket = 0;
      event.config = spec.space.Sample(rng);
      event.kind = EventKind::kTrialCreated;
      Apply(event);
      event.attempt = 1;
      event.kind = EventKind::kAttemptGranted;
      Apply(event);
      event.result = ResultOf({{i}});
      event.kind = EventKind::kResult;
      Apply(event);
    }
  }

  // One job; the milliseconds of its decision.
  double Run() {
    const auto start = std::chrono::steady_clock::now();
    const Decision decision = study_.NextWork(NothingKnown(), Now());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    RUNG_CHECK(decision.job.has_value(), "a job");
    const int64_t attempt = study_.Grant(*decision.job, "w", Now()).attempt;
    study_.OnResult(*decision.job, attempt, ResultOf(*decision.job), Now());
    return took.count();
  }

 private:
  Stamp Now() { return {absl::UnixEpoch(), next_seq_}; }
  void Apply(Event& event) {
    event.seq = next_seq_++;
    study_.Apply(event);
  }
  ResultValues ResultOf(const Job& job) const {
    ResultValues result;
    result.values[study_.spec().objective.metric] =
        Loss(study_.trial(job.trial).config) + .1 * (4 - job.rung);
    return result;
  }

  Study study_;
  int64_t next_seq_ = 1;
};

void MeasureAuto(const StudySpec& spec, int results) {
  constexpr int kStart = 40, kAsks = 400;  // the start's promotions are made without a model
  AutoStudy study(spec, results);
  for (int i = 0; i < kStart; ++i) study.Run();
  std::vector<double> milliseconds;
  for (int i = 0; i < kAsks; ++i) milliseconds.push_back(study.Run());
  Print("auto", results, std::move(milliseconds));
}

void Measure(const std::string& algorithm, const StudySpec& spec, int results) {
  const int asks = results > 1000 ? 100 : 300;
  const std::unique_ptr<Sampler> sampler = MakeSampler(spec);
  History history;
  history.rungs.resize(1);
  std::deque<Config> configs;
  for (int i = 1; i <= results; ++i) {
    Rng rng(1, static_cast<uint64_t>(i));
    configs.push_back(spec.space.Sample(rng));
    history.configs.insert(ConfigHash(configs.back()));
    history.rungs[0].push_back({{i}, &configs.back(), Loss(configs.back())});
  }
  std::vector<double> milliseconds;
  for (int i = 1; i <= asks; ++i) {
    Rng rng(2, static_cast<uint64_t>(i));
    const auto start = std::chrono::steady_clock::now();
    const Proposal proposal = sampler->Propose(history, rng);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    RememberFits(proposal.detail_json, history);
    milliseconds.push_back(took.count());
  }
  Print(algorithm, results, std::move(milliseconds));
}

}  // namespace
}  // namespace rung

int main(int count, char** arguments) {
  std::vector<std::string> algorithms(arguments + 1, arguments + count);
  if (algorithms.empty()) algorithms = {"bohb", "auto"};
  nlohmann::json space;
  for (int i = 0; i < 8; ++i) space["x" + std::to_string(i)] = {{"low", 0.0}, {"high", 1.0}};
  for (int i = 0; i < 4; ++i) space["c" + std::to_string(i)] = {"a", "b", "c", "d", "e"};
  for (const std::string& algorithm : algorithms) {
    const bool is_auto = algorithm == "auto";
    const nlohmann::json study = {{"name", "ask"},
                                  {"trainer", {{"type", "command"}}},
                                  {"objective", {{"metric", "loss"}, {"goal", "minimize"}}},
                                  {"budget", {{"min", 1}, {"max", is_auto ? 81 : 1}}},
                                  {"algorithm", {{"type", algorithm}}},
                                  {"stop", {{"trials", 1000000}}},
                                  {"space", space}};
    const absl::StatusOr<rung::StudySpec> spec = rung::StudySpec::Parse(study.dump(), "ask_bench", "/");
    RUNG_CHECK(spec.ok(), "a study");
    for (const int results : {100, 1000, 10000, 100000})
      is_auto ? rung::MeasureAuto(*spec, results) : rung::Measure(algorithm, *spec, results);
  }
}
