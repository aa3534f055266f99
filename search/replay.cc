#include "search/replay.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/match.h"
#include "search/event_json.h"
#include "search/study_state.h"

namespace rung {
namespace {

using Json = nlohmann::json;

// Equal, numbers to kReplayTolerance; JSON inside of strings (origin.detail, decision) as JSON.
bool Alike(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_number_integer() && b.is_number_integer()) return a == b;
    const double x = a.get<double>(), y = b.get<double>();
    return std::abs(x - y) <= kReplayTolerance * std::max({1.0, std::abs(x), std::abs(y)});
  }
  if (a.type() != b.type()) return false;
  if (a.is_array() || a.is_object()) {
    if (a.size() != b.size()) return false;
    for (auto left = a.begin(), right = b.begin(); left != a.end(); ++left, ++right) {
      if (a.is_object() && left.key() != right.key()) return false;
      if (!Alike(*left, *right)) return false;
    }
    return true;
  }
  if (a == b || !a.is_string()) return a == b;
  const Json inner_a = Json::parse(a.get_ref<const std::string&>(), nullptr, false);
  const Json inner_b = Json::parse(b.get_ref<const std::string&>(), nullptr, false);
  return inner_a.is_object() && inner_b.is_object() && Alike(inner_a, inner_b);
}

class Replayer final : private KnownResults {
 public:
  Replayer(StudyId id, const StudySpec& spec, const std::map<std::string, std::string>& data_sha256,
           const std::vector<Event>& log)
      : id_(id), spec_(spec), data_sha256_(data_sha256), log_(log) {
    Follow();
  }

  ReplayReport Run() {
    while (at_ < log_.size() && report_.differences.size() < kMaxDifferences) Step();
    report_.events = static_cast<int64_t>(at_);
    return std::move(report_);
  }

 private:
  void Step();
  void Compare(const std::vector<Event>& derived, size_t inputs);
  void Differ(const Json* derived);
  std::vector<Event> OnStudyState(const Event& event, Stamp stamp, size_t& inputs);
  // A fresh study that has seen the log up to here.
  void Follow() {
    study_ = std::make_unique<Study>(id_, spec_, data_sha256_);
    for (size_t i = 0; i < at_; ++i) study_->Apply(log_[i]);
  }
  // The stored event that follows what the study has seen, in the middle of a decision too.
  const Event* Coming() const {
    const auto found = std::upper_bound(log_.begin(), log_.end(), study_->last_seq(),
                                        [](int64_t seq, const Event& event) { return seq < event.seq; });
    return found == log_.end() ? nullptr : &*found;
  }

  // What other studies knew and trained then, as far as the log tells: a result is known where it was copied,
  // and a job that was passed over was in training.
  std::optional<Known> Find(const std::string& identity) const override {
    const Event* coming = Coming();
    if (coming == nullptr || !coming->copied_from.has_value() || coming->identity != identity)
      return std::nullopt;
    return Known{*coming->copied_from, coming->result, coming->attempt};
  }
  bool InTraining(const std::string& identity) const override {
    const Event* coming = Coming();
    const bool granted = coming != nullptr && coming->kind == EventKind::kAttemptGranted;
    return coming != nullptr && !(granted && study_->Identity(coming->job) == identity);
  }

  const StudyId id_;
  const StudySpec& spec_;
  const std::map<std::string, std::string>& data_sha256_;
  const std::vector<Event>& log_;
  std::unique_ptr<Study> study_;
  size_t at_ = 0;  // the next stored event
  ReplayReport report_;
};

void Replayer::Step() {
  const Event& event = log_[at_];
  int64_t seq = event.seq;
  const Stamp stamp{event.at, seq};
  size_t inputs = 1;
  std::vector<Event> derived;
  switch (event.kind) {
    case EventKind::kAttemptGranted: {
      Decision decision = study_->NextWork(*this, stamp);
      derived = std::move(decision.events);
      // Nothing is decided before a grant that is not stored before it.
      if (derived.empty() && decision.job == event.job) {
        derived.push_back(study_->Grant(event.job, event.worker, stamp));
      } else if (derived.empty()) {
        const Json job = decision.job.has_value()
                             ? Json{{"grants", decision.job->trial.value}, {"rung", decision.job->rung}}
                             : Json{{"grants", nullptr}};
        return Differ(&job);
      }
      inputs = 0;
      break;
    }
    case EventKind::kAttemptLost:
      derived = study_->OnLoss(event.job, event.attempt, event.loss, event.message, stamp, event.spent);
      break;
    case EventKind::kAttemptFailed:
      derived = study_->OnFailure(event.job, event.attempt, event.cause, event.message, stamp, event.spent);
      break;
    case EventKind::kCheckpoint:
      derived = study_->OnCheckpoint(event.job, event.attempt, event.result.charged, stamp);
      break;
    case EventKind::kResult:
      if (!event.copied_from.has_value()) {
        derived = study_->OnResult(event.job, event.attempt, event.result, stamp);
        break;
      }
      [[fallthrough]];
    case EventKind::kTrialCreated:
    case EventKind::kPromoted:
    case EventKind::kTrialFinished:
      inputs = 0;
      derived = study_->NextWork(*this, stamp).events;
      break;
    case EventKind::kStudyState:
      derived = OnStudyState(event, stamp, inputs);
      break;
  }
  Compare(derived, inputs);
}

std::vector<Event> Replayer::OnStudyState(const Event& event, Stamp stamp, size_t& inputs) {
  const auto asked = [&](StudyState wanted, const std::string& reason) {
    absl::StatusOr<std::vector<Event>> events = study_->OnRequest(wanted, reason, stamp);
    return events.ok() ? *std::move(events) : std::vector<Event>();
  };
  const std::string& message = event.message;
  if (event.study_state == StudyState::kPaused) return asked(StudyState::kPaused, message);
  if (study_->state() == StudyState::kPaused && !IsFinished(event.study_state) &&
      event.study_state != StudyState::kStopping) {
    return asked(StudyState::kRunning, message);
  }
  if (event.study_state == StudyState::kStopping && absl::StartsWith(message, kAskedToStop)) {
    const std::string reason = message == kAskedToStop ? "" : message.substr(sizeof(kAskedToStop) - 1 + 2);
    return asked(StudyState::kStopping, reason);
  }
  if (event.study_state == StudyState::kStopping && message == kWallTimeOver) {
    return study_->OnActiveTime(spec_.stop.wall_time.value_or(absl::InfiniteDuration()), stamp);
  }
  inputs = 0;
  return study_->NextWork(*this, stamp).events;
}

void Replayer::Compare(const std::vector<Event>& derived, size_t inputs) {
  if (derived.empty()) return Differ(nullptr);
  for (size_t i = 0; i < derived.size(); ++i) {
    const Json json = ToJson(derived[i]);
    if (at_ == log_.size() || !Alike(json, ToJson(log_[at_]))) return Differ(&json);
    if (i >= inputs) ++report_.decisions;
    const bool proposed =
        derived[i].kind == EventKind::kTrialCreated && derived[i].origin.source != Origin::Source::kEnqueued;
    if (proposed) ++report_.proposals;
    ++at_;
  }
}

void Replayer::Differ(const Json* derived) {
  ReplayDifference difference;
  if (derived != nullptr) difference.derived = derived->dump();
  if (at_ < log_.size()) {
    difference.seq = log_[at_].seq;
    difference.stored = ToJson(log_[at_]).dump();
    ++at_;
  }
  report_.differences.push_back(std::move(difference));
  Follow();
}

}  // namespace

ReplayReport Replay(StudyId id, const StudySpec& spec, const std::map<std::string, std::string>& data_sha256,
                    const std::vector<Event>& log) {
  return Replayer(id, spec, data_sha256, log).Run();
}

}  // namespace rung
