#include "coordinator/metrics.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_format.h"
#include "coordinator/reads.h"
#include "proto/wire.h"

namespace rung {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

std::string Escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return text;
}

class Exposition {
 public:
  void Begin(const std::string& name, const char* type, const std::string& help) {
    name_ = name;
    text_ += absl::StrFormat("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
  }
  void Add(double value, const Labels& labels = {}, const std::string& suffix = "") {
    text_ += name_ + suffix;
    for (size_t i = 0; i < labels.size(); ++i) {
      text_ += absl::StrFormat("%s%s=\"%s\"", i == 0 ? "{" : ",", labels[i].first, Escaped(labels[i].second));
    }
    text_ += absl::StrFormat("%s %.17g\n", labels.empty() ? "" : "}", value);
  }
  void One(const std::string& name, const char* type, const std::string& help, double value) {
    Begin(name, type, help);
    Add(value);
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_, name_;
};

void AddHistogram(Exposition& text, const std::string& name, const std::string& help,
                  const Histogram& histogram) {
  text.Begin(name, "histogram", help);
  for (size_t i = 0; i < Histogram::kBounds.size(); ++i) {
    text.Add(static_cast<double>(histogram.AtMost(i)), {{"le", absl::StrFormat("%g", Histogram::kBounds[i])}},
             "_bucket");
  }
  text.Add(static_cast<double>(histogram.count()), {{"le", "+Inf"}}, "_bucket");
  text.Add(histogram.sum_seconds(), {}, "_sum");
  text.Add(static_cast<double>(histogram.count()), {}, "_count");
}

void AddStudies(Exposition& text, const std::vector<v1::StudyStatus>& studies) {
  const auto each = [&](const std::string& name, const char* type, const std::string& help,
                        const auto& value) {
    text.Begin(name, type, help);
    for (const v1::StudyStatus& study : studies) text.Add(value(study), {{"study", study.name()}});
  };
  text.Begin("rung_study_state", "gauge", "1 for the state that the study is in.");
  for (const auto& study : studies) text.Add(1, {{"study", study.name()}, {"state", study.state()}});
  text.Begin("rung_trials", "gauge", "Trials by state.");
  for (const auto& study : studies) {
    const std::map<std::string, int> sorted(study.trials_by_state().begin(), study.trials_by_state().end());
    for (const auto& [state, count] : sorted) text.Add(count, {{"study", study.name()}, {"state", state}});
  }
  text.Begin("rung_trial_failures_total", "counter", "Trials that failed, by cause.");
  for (const auto& study : studies) {
    const std::map<std::string, int> sorted(study.failures_by_cause().begin(),
                                            study.failures_by_cause().end());
    for (const auto& [cause, count] : sorted) text.Add(count, {{"study", study.name()}, {"cause", cause}});
  }
  each("rung_attempts_running", "gauge", "Attempts at work.",
       [](const v1::StudyStatus& study) { return study.running_attempts(); });
  each("rung_device_seconds_total", "counter", "Time of devices that attempts used.",
       [](const v1::StudyStatus& study) { return study.device_seconds(); });
  each("rung_lost_device_seconds_total", "counter", "Of it: what has to be trained again.",
       [](const v1::StudyStatus& study) { return study.lost_seconds(); });
  each("rung_idle_worker_seconds_total", "counter", "Time of workers without an attempt.",
       [](const v1::StudyStatus& study) { return study.idle_seconds(); });
  text.Begin("rung_best_value", "gauge", "The incumbent's score, at its rung.");
  for (const auto& study : studies) {
    if (!study.has_incumbent() || !study.incumbent().has_score()) continue;
    text.Add(FromWire(study.incumbent().score()),
             {{"study", study.name()}, {"rung", std::to_string(study.incumbent().score_rung())}});
  }
}

}  // namespace

void Histogram::Add(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  const auto* bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  if (bound != kBounds.end()) ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  ++count_;
  sum_seconds_ += seconds;
}

int64_t Histogram::AtMost(size_t bound) const {
  int64_t count = 0;
  for (size_t i = 0; i <= bound; ++i) count += counts_[i];
  return count;
}

std::string MetricsText(const Core& core, const LoopFigures& loop, const ProcessFigures& process,
                        absl::Duration steady) {
  Exposition text;
  text.Begin("rung_build_info", "gauge", "1, with the version of the coordinator.");
  text.Add(1, {{"version", core.options().build}});
  text.One("rung_term", "gauge", "Number of this coordinator among those of its state directory.",
           static_cast<double>(core.options().term));
  text.One("process_start_time_seconds", "gauge", "Start of the process, since 1970.",
           process.start_time_seconds);
  text.One("process_resident_memory_bytes", "gauge", "Resident memory.",
           static_cast<double>(process.resident_memory_bytes));
  text.One("rung_database_bytes", "gauge", "Size of the database.",
           static_cast<double>(process.database_bytes));
  text.One("rung_free_disk_bytes", "gauge", "Free space where the state directory lies.",
           static_cast<double>(process.free_bytes));
  text.One("rung_calls_total", "counter", "Calls that came to the core.", static_cast<double>(loop.calls));
  AddHistogram(text, "rung_commit_seconds", "Time of a commit, which many calls may share.", loop.commits);
  std::map<std::string, int> workers = {{"busy", 0}, {"gone", 0}, {"idle", 0}, {"lost", 0}, {"suspect", 0}};
  if (const auto listed = Answer(core, steady, v1::ListWorkersRequest()); listed.ok()) {
    for (const v1::WorkerRow& worker : listed->workers()) ++workers[worker.state()];
  }
  text.Begin("rung_workers", "gauge", "Workers by state.");
  for (const auto& [state, count] : workers) text.Add(count, {{"state", state}});
  std::vector<v1::StudyStatus> studies;
  for (const auto& [id, entry] : core.studies()) studies.push_back(core.StatusOf(entry));
  AddStudies(text, studies);
  return text.Take();
}

}  // namespace rung
