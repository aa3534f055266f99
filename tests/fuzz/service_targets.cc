// The targets that read what studies, workers, people and other processes of the service write.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "coordinator/core.h"
#include "coordinator/http_listener.h"
#include "coordinator/reads.h"
#include "coordinator/recovery.h"
#include "coordinator/state_lock.h"
#include "proto/endpoint.h"
#include "search/conditions.h"
#include "search/rng.h"
#include "search/study_spec.h"
#include "storage/study_store.h"
#include "tests/coordinator/demo_study.h"
#include "tests/fake_clock.h"
#include "tests/fuzz/targets.h"
#include "worker/point_journal.h"
#include "worker/record_file.h"
#include "worker/spool.h"
#include "worker/trainer_message.h"

namespace rung {
namespace {

// A state directory in memory.
struct Place {
  const StateDir dir{"/dev/shm/rung-fuzz-" + std::to_string(getpid())};

  Place() { RUNG_CHECK(MakeDirectories(dir.root).ok(), "/dev/shm is writable"); }
  ~Place() { std::filesystem::remove_all(dir.root); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  static void Write(const std::string& path, std::string_view bytes) {
    RUNG_CHECK(WriteFileAtomic(path, std::string(bytes)).ok(), "/dev/shm is writable");
  }
};

// A coordinator at work on one study: h-0 trains trial 1, h-1 is gone and its trial 2 waits. It commits what
// it does, as rungd would.
class Serving {
 public:
  Serving() : core_(Options()) {
    auto store = StudyStore::Open(":memory:");
    RUNG_CHECK(store.ok(), "a store in memory opens");
    store_ = *std::move(store);
    core_.Start(now_);
    v1::CreateStudyRequest study;
    study.set_canonical_json(kStudy);
    Do(study);
    for (const char* slot : {"0", "1"}) {
      v1::RegisterRequest worker;
      worker.set_slot(slot);
      worker.set_instance("a");
      worker.set_state_dir_nonce("nonce");
      worker.mutable_process()->set_host("h");
      Do(worker);
      v1::LeaseRequest lease;
      lease.set_worker(std::string("h-") + slot);
      lease.set_instance("a");
      Do(lease);
    }
    RUNG_CHECK(core_.leases().all().size() == 2, "both workers have an attempt");
    Do(ProcessGone{"h-1", "a"});
  }

  template <typename Request>
  void Receive(std::string_view bytes) {
    Request request;
    if (request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) Do(request);
  }
  template <typename Request>
  void Look(std::string_view bytes) {
    Request request;
    if (request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      Answer(core_, request).status().IgnoreError();
  }
  template <typename Request>
  void LookUp(std::string_view bytes) {
    Request request;
    if (request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      Answer(core_, *store_, request).status().IgnoreError();
  }
  void Restart() {
    absl::StatusOr<Core> again = LoadCore(Options(), *store_);
    RUNG_CHECK(again.ok(), "what is stored is read again");
    again->Start(now_);
  }

 private:
  static CoreOptions Options() {
    CoreOptions options;
    options.dir = StateDir{"/state"};
    options.nonce = "nonce";
    options.term = 1;
    return options;
  }
  template <typename Body>
  void Do(const Body& body) {
    core_.Apply(Command{++ticket_, body}, now_);
    now_.steady += absl::Seconds(1);
    core_.Settle(now_);
    const Effects effects = core_.Take();
    RUNG_CHECK(store_->Append(effects.batch).ok(), "what the core accepts can be stored");
    RUNG_CHECK(effects.replies.size() <= 1, "one request has one answer");
  }

  Core core_;
  std::unique_ptr<StudyStore> store_;
  Now now_{absl::FromUnixSeconds(1'700'000'000), absl::Seconds(1000)};
  int64_t ticket_ = 0;
};

}  // namespace

void FuzzStudy(std::string_view bytes) {
  const absl::StatusOr<StudySpec> spec = StudySpec::Parse(std::string(bytes), "fuzzed", "/nowhere");
  if (!spec.ok()) return;
  RUNG_CHECK(IsValidName(spec->name), "a study's name is never a path");
  const std::string canonical = spec->CanonicalJson();
  const absl::StatusOr<StudySpec> again = StudySpec::Parse(canonical, "canonical", "/elsewhere");
  RUNG_CHECK(again.ok() && again->CanonicalJson() == canonical, "canonical JSON is read back to itself");
  Rng rng(1, 1);
  RUNG_CHECK(spec->space.Validate(spec->space.Sample(rng)).ok(), "what is drawn is of the space");
}

void FuzzCondition(std::string_view bytes) {
  const absl::StatusOr<Condition> condition = Condition::Parse(std::string(bytes));
  if (!condition.ok()) return;
  condition->Holds({{"opt", std::string("SGD")}, {"lr", 1e-3}, {"n", int64_t{8}}, {"flag", true}});
  RUNG_CHECK(Condition::Parse(condition->text()).ok(), "a condition's text is a condition");
}

void FuzzRequest(std::string_view bytes) {
  if (bytes.empty()) return;
  Serving serving;
  const std::string_view message = bytes.substr(1);
  switch (bytes[0]) {
    case 'R':
      serving.Receive<v1::RegisterRequest>(message);
      break;
    case 'L':
      serving.Receive<v1::LeaseRequest>(message);
      break;
    case 'P':
      serving.Receive<v1::ProgressRequest>(message);
      break;
    case 'E':
      serving.Receive<v1::ReportRequest>(message);
      break;
    case 'B':
      serving.Receive<v1::ReleaseRequest>(message);
      break;
    case 'C':
      serving.Receive<v1::CreateStudyRequest>(message);
      break;
    case 'S':
      serving.Receive<v1::SetStudyStateRequest>(message);
      break;
    case 'G':
      serving.Receive<v1::GetStudyRequest>(message);
      break;
    case 'W':
      serving.Receive<v1::WorkerGoneRequest>(message);
      break;
    case 'D':
      serving.Receive<v1::EndWorkerRequest>(message);
      break;
    case 'T':
      serving.Look<v1::ListTrialsRequest>(message);
      break;
    case 't':
      serving.LookUp<v1::GetTrialRequest>(message);
      break;
    case 'e':
      serving.LookUp<v1::ListEventsRequest>(message);
      break;
    case 'p':
      serving.LookUp<v1::ListPointsRequest>(message);
      break;
    default:
      return;
  }
  serving.Restart();
}

void FuzzSpool(std::string_view bytes) {
  const Place place;
  const std::string path = place.dir.root + "/spool";
  v1::ReportRequest report;
  report.set_request_id("new");
  // As the whole file, and as what a good record holds: no mutation finds the hash of a record.
  for (const std::string& file : {std::string(bytes), EncodeRecord(std::string(bytes))}) {
    Place::Write(path, file);
    absl::StatusOr<Spool> spool = Spool::Open(path);
    RUNG_CHECK(spool.ok() && spool->Add(report).ok(), "a spool opens whatever its bytes");
    const absl::StatusOr<Spool> again = Spool::Open(path);
    RUNG_CHECK(again.ok() && !again->damaged(), "what is no record is out of the way");
    RUNG_CHECK(again->reports().size() == spool->reports().size(), "what is added is found again");
    Place::Write(path, file);
    PointJournal journal(path);
    RUNG_CHECK(journal.Add(v1::ProgressRequest()).ok(), "a journal goes on behind its last record");
    RUNG_CHECK(PointJournal(path).left().size() == journal.left().size() + 1, "what is added is found again");
  }
}

void FuzzTrainerMessage(std::string_view bytes) {
  LineBuffer lines;
  for (const std::string& line : lines.Add(bytes.data(), bytes.size()))
    ParseTrainerMessage(line).status().IgnoreError();
}

void FuzzEndpoint(std::string_view bytes) {
  const Place place;
  Place::Write(place.dir.endpoint(), bytes);
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(place.dir);
  if (!endpoint.ok()) return;
  ProvedDead(*endpoint);
  RUNG_CHECK(WriteEndpoint(place.dir, *endpoint).ok() && ReadEndpoint(place.dir).ok(),
             "what is read can be written");
}

void FuzzToken(std::string_view bytes) {
  const Place place;
  RUNG_CHECK(MakeDirectories(place.dir.root + "/tokens").ok(), "/dev/shm is writable");
  Place::Write(place.dir.token("worker"), bytes);
  const absl::StatusOr<std::string> token = ReadToken(place.dir, "worker");
  RUNG_CHECK(!token.ok() || token->size() == 64, "a token is 64 digits");
}

void FuzzLock(std::string_view bytes) {
  const Place place;
  RUNG_CHECK(MakeDirectories(place.dir.lock_directory()).ok(), "/dev/shm is writable");
  Place::Write(place.dir.lock_directory() + "/7", bytes);
  FakeClock clock;
  LockOptions options;
  options.self = {"here", "this boot", 1, 1};
  options.pause = [&clock](absl::Duration) { clock.steady += absl::Seconds(10); };
  const auto lock = StateLock::Acquire(place.dir, options, clock);
  if (!lock.ok()) return;
  RUNG_CHECK((*lock)->term() == 8, "a term follows the last");
  const std::string database = (*lock)->database();
  RUNG_CHECK(database.starts_with(place.dir.root + "/rung.") &&
                 database.find('/', place.dir.root.size() + 1) == std::string::npos,
             "the database lies in the directory");
}

void FuzzHttp(std::string_view bytes) {
  const std::optional<HttpRequest> request = ParseHttpRequest(std::string(bytes));
  RUNG_CHECK(!request.has_value() || request->path[0] == '/', "a path begins at the root");
}

}  // namespace rung
