// A study driven in memory: workers that answer with a function of the config, known results, replay.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "search/study.h"

namespace rung {

inline StudySpec Spec(const std::string& text) {
  absl::StatusOr<StudySpec> spec = StudySpec::Parse(text, "study.json", "/data");
  INFO(spec.status().message());
  REQUIRE(spec.ok());
  return *std::move(spec);
}

// `changes` is a merge patch; a space in it replaces the whole space.
inline std::string StudyText(const std::string& changes = "{}") {
  nlohmann::json study = nlohmann::json::parse(R"({
    "name": "s", "seed": 7,
    "trainer": {"type": "text_classification", "train": "train.csv"},
    "objective": {"metric": "validation/accuracy", "goal": "maximize"},
    "budget": {"unit": "epochs", "min": 1, "max": 9, "eta": 3},
    "algorithm": {"type": "bohb"},
    "space": {"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}, "c": ["a", "b", "c"],
              "z": {"low": 1e-4, "high": 1, "log": true, "if": "c = b"}}
  })");
  const nlohmann::json patch = nlohmann::json::parse(changes);
  if (patch.contains("space")) study.erase("space");
  study.merge_patch(patch);
  return study.dump();
}

// What a study shows, as text: equal states give equal text.
inline std::string Dump(const Study& study) {
  nlohmann::json out = {{"state", Name(study.state())},        {"message", study.state_message()},
                        {"last_seq", study.last_seq()},        {"device", study.device_seconds()},
                        {"charged", study.budget_charged()},   {"saved", study.budget_saved()},
                        {"planned", study.planned_brackets()}, {"trials", nlohmann::json::array()},
                        {"brackets", nlohmann::json::array()}};
  if (const auto best = study.incumbent()) out["incumbent"] = {best->trial.value, best->rung, best->score};
  for (const auto& bracket : study.brackets()) {
    out["brackets"].push_back({bracket.index, bracket.planned, bracket.first_rung, bracket.entered,
                               bracket.finished, bracket.closed});
  }
  for (const TrialId id : study.trials()) {
    const TrialView& trial = study.trial(id);
    nlohmann::json view = {{"config", ToJson(trial.config)},
                           {"state", Name(trial.state)},
                           {"rung", trial.rung},
                           {"origin", trial.origin.detail_json},
                           {"source", Name(trial.origin.source)},
                           {"as_of", trial.origin.as_of},
                           {"message", trial.message},
                           {"bracket", trial.bracket},
                           {"rungs", nlohmann::json::array()}};
    if (trial.cause.has_value()) view["cause"] = Name(*trial.cause);
    if (trial.evaluation.has_value()) view["evaluation"] = trial.evaluation->values;
    for (const auto& [rung, rung_view] : trial.rungs) {
      nlohmann::json replicates = nlohmann::json::array();
      for (const ReplicateView& replicate : rung_view.replicates) {
        replicates.push_back({replicate.attempts, replicate.losses, replicate.running,
                              replicate.result_attempt,
                              replicate.result.has_value() ? replicate.result->values.size() : 0});
      }
      view["rungs"].push_back({rung, replicates, rung_view.score.value_or(-1e9)});
    }
    out["trials"].push_back(view);
  }
  return out.dump();
}

class KnownMap final : public KnownResults {
 public:
  std::optional<Known> Find(const std::string& identity) const override {
    const auto found = results.find(identity);
    if (found == results.end()) return std::nullopt;
    return found->second;
  }
  bool InTraining(const std::string& identity) const override { return training.contains(identity); }

  std::map<std::string, Known> results;
  std::set<std::string> training;
};

// Keeps all events, as the store would.
class Driver {
 public:
  explicit Driver(StudySpec spec, StudyId id = {1}, const std::string& data_sha256 = "0f")
      : study(id, std::move(spec), {{"train.csv", data_sha256}}) {}

  Stamp Now() { return {absl::UnixEpoch() + absl::Seconds(next_seq), next_seq}; }
  void Keep(std::vector<Event> events) {
    for (Event& event : events) log.push_back(std::move(event));
  }

  // The next job, granted; nullopt if there is none.
  std::optional<Job> Take() {
    Decision decision = study.NextWork(known, Now());
    idle = decision.idle;
    Keep(std::move(decision.events));
    if (!decision.job.has_value()) return std::nullopt;
    granted = study.Grant(*decision.job, "w", Now());
    attempts[*decision.job] = granted.attempt;
    log.push_back(granted);
    return decision.job;
  }

  ResultValues Values(double score, double charged = 1) const {
    ResultValues values;
    values.values[study.spec().objective.metric] = score;
    values.charged = charged;
    values.device_seconds = 10;
    return values;
  }

  void Report(const Job& job, double score) {
    const std::string identity = study.Identity(job);
    const std::vector<Event> events = study.OnResult(job, attempts.at(job), Values(score), Now());
    if (remember && events.front().kind == EventKind::kResult) {
      known.results[identity] = {{study.id(), job}, events.front().result, attempts.at(job)};
    }
    Keep(events);
  }
  // By itself each trial fails in its own words: a search in which many say the same gives up.
  void Fail(const Job& job, FailureCause cause, const Spent& spent = {}) {
    Fail(job, cause, absl::StrCat("why ", job.trial.value), spent);
  }
  void Fail(const Job& job, FailureCause cause, const std::string& message, const Spent& spent = {}) {
    Keep(study.OnFailure(job, attempts.at(job), cause, message, Now(), spent));
  }
  void Lose(const Job& job, LossReason reason = LossReason::kLost, const Spent& spent = {}) {
    Keep(study.OnLoss(job, attempts.at(job), reason, "", Now(), spent));
  }

  double Score(const Job& job) const {
    const Config& config = study.trial(job.trial).config;
    const double x = std::get<double>(config.at("x"));
    const double y = std::get<double>(config.at("y"));
    return 1 - (x - .3) * (x - .3) - (y - .6) * (y - .6) +
           (config.at("c") == Value(std::string("a")) ? .5 : 0) + .01 * job.rung;
  }

  // One worker until there is nothing to do.
  void Run(int most = 100000) {
    for (int i = 0; i < most; ++i) {
      const std::optional<Job> job = Take();
      if (!job.has_value()) return;
      Report(*job, Score(*job));
    }
  }

  // A fresh study that saw the first `count` events.
  Study Replayed(size_t count) const {
    Study fresh(study.id(), study.spec(), {});
    for (size_t i = 0; i < count; ++i) fresh.Apply(log[i]);
    return fresh;
  }

  Study study;
  KnownMap known;
  bool remember = false;
  std::vector<Event> log;
  std::map<Job, int64_t> attempts;
  Event granted;
  Idle idle = Idle::kWait;
  int64_t next_seq = 1;
};

}  // namespace rung
