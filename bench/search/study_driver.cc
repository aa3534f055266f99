// Plays the coordinator of one study for a benchmark: study_driver STUDY.json, requests and answers one JSON
// line each on stdin and stdout. The search is the product's own (search/study.h); training is the caller's.
//
//   {"ask": true}                    {"job": 7, "config": {...}, "rung": 1, "budget": 3, "paid": 2, "source":
//   "model", "ms": 0.2}
//                                    `paid`: what is trained beyond the checkpoint it goes on from; or
//                                    {"idle": "wait" | "done"}
//   {"tell": 7, "value": 0.25}       {"ok": true}
//   {"fail": 7}                      {"ok": true}      the config's own fault
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>

#include "base/check.h"
#include "search/study.h"

namespace rung {
namespace {

using nlohmann::json;

// Every config is trained: the functions are noisy, and a copy would not be.
class NothingKnown final : public KnownResults {
 public:
  std::optional<Known> Find(const std::string& /*identity*/) const override { return std::nullopt; }
  bool InTraining(const std::string& /*identity*/) const override { return false; }
};

json JsonOf(const Config& config) {
  json object = json::object();
  for (const auto& [name, value] : config) {
    std::visit([&, key = name](const auto& alternative) { object[key] = alternative; }, value);
  }
  return object;
}

class Driver {
 public:
  explicit Driver(StudySpec spec) : study_({1}, std::move(spec), {}), budgets_(study_.spec().RungBudgets()) {}

  json Answer(const json& request) {
    if (request.contains("ask")) return Ask();
    const bool failed = request.contains("fail");
    const auto granted = granted_.find(request.at(failed ? "fail" : "tell").get<int64_t>());
    RUNG_CHECK(granted != granted_.end(), "a job that was asked for and not told yet");
    const auto [job, attempt, paid] = granted->second;
    if (failed) {
      study_.OnFailure(job, attempt, FailureCause::kCrash, "", Now());
    } else {
      ResultValues result;
      result.values[study_.spec().objective.metric] = request.at("value").get<double>();
      result.charged = paid;
      study_.OnResult(job, attempt, result, Now());
    }
    granted_.erase(granted);
    return {{"ok", true}};
  }

 private:
  struct Granted {
    Job job;
    int64_t attempt;
    double paid;
  };

  Stamp Now() { return {absl::UnixEpoch() + absl::Seconds(next_seq_), next_seq_}; }

  json Ask() {
    const auto start = std::chrono::steady_clock::now();
    const Decision decision = study_.NextWork(NothingKnown(), Now());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (!decision.job.has_value()) return {{"idle", decision.idle == Idle::kDone ? "done" : "wait"}};
    const Job& job = *decision.job;
    const Event grant = study_.Grant(job, "w", Now());
    const TrialView& trial = study_.trial(job.trial);
    const auto budget_of = [&](int rung) { return budgets_[static_cast<size_t>(rung)]; };
    const double paid = budget_of(job.rung) - (grant.resume_attempt == 0 ? 0 : budget_of(grant.resume_rung));
    granted_[++jobs_] = {job, grant.attempt, paid};
    return {{"job", jobs_},
            {"config", JsonOf(trial.config)},
            {"rung", job.rung},
            {"trial", trial.id.value},
            {"budget", budget_of(job.rung)},
            {"paid", paid},
            {"ms", took.count()},
            {"source", Name(trial.origin.source)}};
  }

  Study study_;
  const std::vector<double> budgets_;
  std::map<int64_t, Granted> granted_;
  int64_t next_seq_ = 1, jobs_ = 0;
};

int Main(const std::string& path) {
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  absl::StatusOr<StudySpec> spec = StudySpec::Parse(text, path, "/");
  if (!spec.ok()) {
    std::cerr << spec.status() << "\n";
    return 1;
  }
  Driver driver(*std::move(spec));
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << driver.Answer(json::parse(line)).dump() << "\n" << std::flush;
  }
  return 0;
}

}  // namespace
}  // namespace rung

int main(int count, char** arguments) {
  RUNG_CHECK(count == 2, "study_driver STUDY.json");
  return rung::Main(arguments[1]);
}
