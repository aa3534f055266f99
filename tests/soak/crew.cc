#include "tests/soak/crew.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "coordinator/recovery.h"
#include "proto/wire.h"

namespace rung::soak {
namespace {

constexpr double kDoubled = 0.1, kAnswerLost = 0.1;
constexpr double kFromSpool = 0.2;
constexpr double kDies = 0.05, kReleases = 0.05, kCheckpoints = 0.3, kCrashes = 0.02;
constexpr double kPauses = 0.05;
constexpr double kTolerance = 1e-9;

// Most are small, so that many begin and end; one in four is long enough for checkpoints of SQLite's log.
constexpr char kStudy[] =
    R"({"name": "soak", "trainer": {"type": "command", "argv": ["true"], "deterministic": true},
  "objective": {"metric": "score", "goal": "maximize", "seeds": %s},
  "budget": {"unit": "epochs", "min": 1, "max": %d, "eta": 3}, "algorithm": {"type": "%s"},
  "space": {"x": {"low": 0, "high": 1}}, "stop": {"brackets": %d}, "seed": %d})";

std::string StudyOf(uint64_t seed) {
  Rng rng(seed, 0x7374756479);
  const char* seeds = rng.Uniform() < 0.5 ? "[1, 2]" : "[1]";
  const char* algorithm = rng.Uniform() < 0.7 ? "hyperband" : "bohb";
  const bool is_long = rng.Uniform() < 0.25;
  return absl::StrFormat(kStudy, seeds, is_long ? 27 : 9, algorithm, is_long ? 4 : 2, rng.Below(1000));
}

bool IsTraining(const v1::Attempt& attempt) {
  return attempt.key().kind() != v1::ATTEMPT_KIND_EVALUATE;
}

template <typename Response>
Response Parsed(const absl::Status& status, const std::string& bytes) {
  Response response;
  if (status.ok()) RUNG_CHECK(response.ParseFromString(bytes), "an answer is readable");
  return response;
}

}  // namespace

Crew::Crew(uint64_t seed, int workers) : rng_(seed, 0x63726577), study_(StudyOf(seed)), ledger_(disk_) {
  clients_.resize(static_cast<size_t>(workers) + 2);
  clients_[0].role = Role::kPerson;
  clients_[0].instance = "person";
  clients_[1].role = Role::kSpool;
  for (size_t i = 2; i < clients_.size(); ++i) clients_[i].host = absl::StrFormat("host%d", i - 2);
}

// ---- what is said

std::optional<Crew::Call> Crew::Next() {
  if (twice_.has_value()) {
    const int64_t number = ++numbers_;
    ++figures_.calls;
    ++figures_.doubled;
    Call call{number, twice_->body};
    under_way_[number] = *std::move(twice_);
    twice_.reset();
    return call;
  }
  std::vector<size_t> idle;
  for (size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].awaits == 0) idle.push_back(i);
  }
  while (!idle.empty()) {
    const auto pick =
        idle.begin() + static_cast<std::ptrdiff_t>(rng_.Below(static_cast<int64_t>(idle.size())));
    const size_t index = *pick;
    Client& client = clients_[index];
    if (!client.said.has_value()) client.said = Words(client);
    if (!client.said.has_value()) {
      idle.erase(pick);
      continue;
    }
    client.awaits = ++numbers_;
    ++figures_.calls;
    under_way_[client.awaits] = {index, *client.said};
    if (rng_.Uniform() < kDoubled) twice_ = under_way_[client.awaits];
    return Call{client.awaits, *client.said};
  }
  return std::nullopt;
}

std::optional<Crew::Body> Crew::Words(Client& client) {
  if (client.role == Role::kPerson) return PersonsWords();
  if (client.role == Role::kWorker) {
    if (finished_) return std::nullopt;
    return WorkersWords(client);
  }
  if (spool_.empty() || rng_.Uniform() >= kFromSpool) return std::nullopt;
  Body report = spool_.front();
  spool_.pop_front();
  return report;
}

std::string Crew::NextId(Client& client) {
  return absl::StrFormat("%s/%d", client.instance, ++client.requests);
}

std::optional<Crew::Body> Crew::PersonsWords() {
  Client& person = clients_[0];
  if (!created_) {
    v1::CreateStudyRequest request;
    request.set_request_id(NextId(person));
    request.set_canonical_json(study_);
    return request;
  }
  if (finished_ || (!paused_ && rng_.Uniform() >= kPauses)) return std::nullopt;
  v1::SetStudyStateRequest request;
  request.set_request_id(NextId(person));
  request.set_wanted(paused_ ? "running" : "paused");
  return request;
}

Crew::Body Crew::WorkersWords(Client& worker) {
  if (!worker.registered) return Register(worker);
  if (!worker.attempt.has_value()) {
    v1::LeaseRequest request;
    request.set_worker(worker.host + "-0");
    request.set_instance(worker.instance);
    return request;
  }
  const double dice = rng_.Uniform();
  if (dice < kDies) {
    // What it had trained reaches the coordinator when its successor has the lease.
    if (rng_.Uniform() < 0.5) Spool(worker);
    worker.attempt.reset();
    worker.registered = false;
    worker.instance.clear();
    return Register(worker);
  }
  if (worker.told_to_stop || dice < kDies + kReleases) return Release(worker);
  const bool trains = IsTraining(*worker.attempt) && worker.reached < worker.attempt->budget_to();
  if (trains && dice < kDies + kReleases + kCheckpoints) return Progress(worker);
  return Report(worker);
}

v1::RegisterRequest Crew::Register(Client& worker) {
  if (worker.instance.empty()) worker.instance = absl::StrFormat("%s.%d", worker.host, ++worker.processes);
  v1::RegisterRequest request;
  request.set_slot("0");
  request.set_instance(worker.instance);
  request.set_state_dir_nonce("nonce");
  request.mutable_process()->set_host(worker.host);
  return request;
}

v1::ProgressRequest Crew::Progress(Client& worker) {
  const v1::Attempt& attempt = *worker.attempt;
  worker.reached += (attempt.budget_to() - worker.reached) * (0.1 + 0.9 * rng_.Uniform());
  worker.saved = worker.reached;
  v1::ProgressRequest request;
  request.set_worker(worker.host + "-0");
  request.set_instance(worker.instance);
  request.set_seq(++worker.requests);
  *request.mutable_attempt() = attempt.key();
  request.set_budget(worker.reached);
  request.set_checkpointed(true);
  v1::MetricPoint& point = *request.add_points();
  point.set_step(worker.requests);
  point.set_budget(worker.reached);
  *point.mutable_metric() = ToWire("score", sim::Ledger::Score(sim::Ledger::LineOf(attempt), worker.reached));
  return request;
}

v1::ReportRequest Crew::Report(Client& worker) {
  const v1::Attempt& attempt = *worker.attempt;
  v1::ReportRequest request;
  request.set_worker(worker.host + "-0");
  request.set_instance(worker.instance);
  request.set_request_id(NextId(worker));
  *request.mutable_attempt() = attempt.key();
  request.set_want_next(rng_.Uniform() < 0.5);
  if (IsTraining(attempt) && rng_.Uniform() < kCrashes) {
    request.mutable_failure()->set_cause(v1::FAILURE_CAUSE_CRASH);
    return request;
  }
  const double score = sim::Ledger::Score(sim::Ledger::LineOf(attempt), attempt.budget_to());
  *request.mutable_result()->add_values() = ToWire("score", score);
  if (!IsTraining(attempt)) return request;
  request.mutable_result()->set_charged(std::max(0.0, attempt.budget_to() - attempt.budget_from()));
  request.set_checkpoint_budget(attempt.budget_to());
  return request;
}

v1::ReleaseRequest Crew::Release(Client& worker) {
  v1::ReleaseRequest request;
  request.set_worker(worker.host + "-0");
  request.set_instance(worker.instance);
  request.set_request_id(NextId(worker));
  *request.mutable_attempt() = worker.attempt->key();
  request.set_reason(v1::LOSS_REASON_RELEASED);
  request.set_checkpoint_budget(worker.saved);
  return request;
}

void Crew::Spool(Client& worker) {
  spool_.push_back(Report(worker));
  spool_.back().set_want_next(false);
}

// ---- what is answered

void Crew::Abandon() {
  under_way_.clear();
  twice_.reset();
  for (Client& client : clients_) client.awaits = 0;
}

void Crew::Answered(int64_t number, const absl::Status& status, const std::string& bytes) {
  const auto found = under_way_.find(number);
  if (found == under_way_.end()) return Breach(absl::StrFormat("call %d was answered twice", number));
  const UnderWay call = std::move(found->second);
  under_way_.erase(found);
  Client& client = clients_[call.client];
  const bool awaited = client.awaits == number;
  if (awaited) client.awaits = 0;
  if (absl::IsUnavailable(status)) return;
  Note(call.body, status, bytes);
  if (!awaited) return;
  if (rng_.Uniform() < kAnswerLost) {
    ++figures_.answers_lost;
    return;
  }
  const Body said = *std::move(client.said);
  client.said.reset();
  Take(client, said, status, bytes);
}

void Crew::NoteCheckpoint(const v1::JobKey& wire, double budget) {
  const AttemptKey key = FromWire(wire);
  double& best = checkpoints_[{key.study, key.job}];
  best = std::max(best, budget);
}

// What the coordinator has acknowledged, heard or not.
void Crew::Note(const Body& body, const absl::Status& status, const std::string& bytes) {
  if (const auto* report = std::get_if<v1::ReportRequest>(&body)) {
    const auto response = Parsed<v1::ReportResponse>(status, bytes);
    reported_.push_back({*report, status, response.decision()});
    if (absl::IsAborted(status)) ++figures_.refused;
    if (status.ok() && report->has_result()) ++figures_.results;
  }
  if (const auto* progress = std::get_if<v1::ProgressRequest>(&body); progress != nullptr && status.ok()) {
    const auto response = Parsed<v1::ProgressResponse>(status, bytes);
    if (response.command() != v1::COMMAND_LEASE_LOST) NoteCheckpoint(progress->attempt(), progress->budget());
  }
  if (const auto* release = std::get_if<v1::ReleaseRequest>(&body); release != nullptr && status.ok())
    NoteCheckpoint(release->attempt(), release->checkpoint_budget());
  if (std::holds_alternative<v1::CreateStudyRequest>(body)) {
    created_ = created_ || status.ok();
    if (!status.ok()) Breach("the study was refused: " + std::string(status.message()));
  }
}

void Crew::Take(Client& client, const Body& said, const absl::Status& status, const std::string& bytes) {
  // A registration that was acknowledged is stored: whoever has one is known.
  if (client.role == Role::kWorker && absl::IsFailedPrecondition(status))
    Breach("a worker was forgotten: " + std::string(status.message()));
  if (std::holds_alternative<v1::RegisterRequest>(said)) {
    if (!status.ok()) Breach("a worker was refused: " + std::string(status.message()));
    client.registered = true;
  } else if (std::holds_alternative<v1::LeaseRequest>(said)) {
    TakeLease(client, status, Parsed<v1::LeaseResponse>(status, bytes));
  } else if (std::holds_alternative<v1::ProgressRequest>(said)) {
    const v1::Command command = Parsed<v1::ProgressResponse>(status, bytes).command();
    client.told_to_stop = command == v1::COMMAND_STOP;
    if (command != v1::COMMAND_LEASE_LOST) return;
    // A worker that was frozen does not look before it reports.
    if (rng_.Uniform() < 0.5) Spool(client);
    client.attempt.reset();
  } else if (std::holds_alternative<v1::ReportRequest>(said) && client.role == Role::kWorker) {
    const auto response = Parsed<v1::ReportResponse>(status, bytes);
    client.attempt.reset();
    if (response.has_next()) Begin(client, response.next());
  } else if (std::holds_alternative<v1::ReleaseRequest>(said)) {
    client.attempt.reset();
  } else if (const auto* wanted = std::get_if<v1::SetStudyStateRequest>(&said)) {
    paused_ = status.ok() && wanted->wanted() == "paused";
  }
}

void Crew::TakeLease(Client& worker, const absl::Status& status, const v1::LeaseResponse& response) {
  if (!status.ok()) return Breach("a worker gets no work: " + std::string(status.message()));
  if (response.has_attempt()) return Begin(worker, response.attempt());
  finished_ = finished_ || response.idle() == v1::IDLE_REASON_STUDY_DONE;
  paused_ = paused_ || response.idle() == v1::IDLE_REASON_PAUSED;  // too many losses pause a study, too
}

void Crew::Begin(Client& worker, const v1::Attempt& attempt) {
  const AttemptKey key = FromWire(attempt.key());
  const auto saved = checkpoints_.find({key.study, key.job});
  if (saved != checkpoints_.end() && attempt.budget_from() + kTolerance < saved->second) {
    Breach(absl::StrFormat("trial %d rung %d goes on at %g, though %g was acknowledged as saved",
                           key.job.trial.value, key.job.rung, attempt.budget_from(), saved->second));
  }
  worker.attempt = attempt;
  worker.reached = attempt.budget_from();
  worker.saved = 0;
  worker.told_to_stop = false;
}

// ---- what is stored

void Crew::Check(const CoreOptions& options, StudyStore& store) {
  Batch news;
  const absl::Status studies = store.LoadStudies([&](StudyRecord record) {
    if (record.id > last_study_) news.studies.push_back(std::move(record));
    return absl::OkStatus();
  });
  const absl::Status events = store.LoadEvents([&](StudyId study, const Event& event) {
    if (event.seq > last_seq_) news.events.push_back({study, event});
    return absl::OkStatus();
  });
  if (!studies.ok() || !events.ok())
    return Breach("the store cannot be read: " + std::string((studies.ok() ? events : studies).message()));
  if (!news.studies.empty()) last_study_ = news.studies.back().id;
  if (!news.events.empty()) last_seq_ = news.events.back().event.seq;
  ledger_.OnCommit(news, /*draining=*/false);
  for (const Reported& each : reported_) ledger_.OnReportAnswer(each.request, each.status, each.decision);
  reported_.clear();
  const absl::StatusOr<Core> core = LoadCore(options, store);
  if (!core.ok()) return Breach("no coordinator can start: " + std::string(core.status().message()));
  ledger_.OnRecovery(*core);
  if (created_ && core->studies().empty()) Breach("an acknowledged study is gone");
  if (finished_ && !core->AllFinished()) Breach("a study that was said to be finished is not");
}

}  // namespace rung::soak
