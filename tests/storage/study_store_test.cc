#include "storage/study_store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "base/status.h"
#include "storage/schema.h"
#include "tests/scratch.h"

namespace rung {
namespace {

StudyRecord Record(int64_t id, const std::string& name) {
  StudyRecord record;
  record.id = StudyId{id};
  record.name = name;
  record.canonical_json = "{\"name\":\"" + name + "\"}";
  record.inputs = {{"model", "/models/minilm"}};
  record.data_sha256 = {{"/data/train.csv", "9f86"}};
  record.created_at = absl::FromUnixMicros(1'700'000'000'000'001);
  record.active_seconds = 1.5;
  return record;
}

Event Made(int64_t seq, EventKind kind, const Job& job, int64_t attempt = 0) {
  Event event;
  event.seq = seq;
  event.at = absl::FromUnixMicros(1'700'000'000'000'000 + seq);
  event.kind = kind;
  event.job = job;
  event.attempt = attempt;
  return event;
}

Event Created(int64_t seq, int64_t trial) {
  Event event = Made(seq, EventKind::kTrialCreated, Job{TrialId{trial}});
  event.config = {{"flag", true}, {"lr", 1.0}, {"n", int64_t{3}}, {"name", std::string("a b")}};
  event.origin.source = Origin::Source::kModel;
  event.origin.as_of = seq - 1;
  event.origin.pending = {TrialId{4}, TrialId{9}};
  event.origin.model_rung = 2;
  event.origin.detail_json = "{\"candidates\":64}";
  event.bracket = 1;
  event.first_rung = 2;
  return event;
}

Event Granted(int64_t seq, const Job& job, int64_t attempt) {
  Event event = Made(seq, EventKind::kAttemptGranted, job, attempt);
  event.worker = "host-0";
  event.resume_rung = 1;
  event.resume_attempt = 3;
  return event;
}

Event Result(int64_t seq, const Job& job, int64_t attempt) {
  Event event = Made(seq, EventKind::kResult, job, attempt);
  event.result.values = {{"validation/accuracy", 0.1 + 0.2},
                         {"a", std::numeric_limits<double>::quiet_NaN()},
                         {"b", -std::numeric_limits<double>::infinity()}};
  event.result.outputs = {{"confusion_matrix", "confusion.json"}};
  event.result.charged = 2.9999999999999996;
  event.result.device_seconds = 12.25;
  event.identity = "0123";
  return event;
}

std::vector<Event> Loaded(StudyStore& store) {
  std::vector<Event> events;
  REQUIRE(store
              .LoadEvents([&](StudyId, const Event& event) {
                events.push_back(event);
                return absl::OkStatus();
              })
              .ok());
  return events;
}

}  // namespace

TEST_CASE("the database may lie behind a linked directory, but not be a link itself") {
  const Scratch directory;
  std::filesystem::create_directory(directory.path("disk"));
  std::filesystem::create_directory_symlink(directory.path("disk"), directory.path("home"));
  REQUIRE(StudyStore::Open(directory.path("home/rung.db")).ok());
  std::filesystem::create_symlink(directory.path("disk/rung.db"), directory.path("linked.db"));
  CHECK_FALSE(StudyStore::Open(directory.path("linked.db")).ok());
}

TEST_CASE("events come back as they were written, after the file was closed") {
  const Scratch directory;
  const Job job{TrialId{1}, 2, 1, AttemptKind::kTrain};
  Event lost = Made(3, EventKind::kAttemptLost, job, 1);
  lost.loss = LossReason::kKilled;
  Event checkpoint = Made(5, EventKind::kCheckpoint, job, 2);
  checkpoint.result.charged = 1.75;
  Event failed = Made(8, EventKind::kTrialFinished, Job{TrialId{1}});
  failed.trial_state = TrialState::kFailed;
  failed.cause = FailureCause::kDiverged;
  failed.message = "loss is nan";
  Event paused = Made(9, EventKind::kStudyState, Job{});
  paused.study_state = StudyState::kPaused;
  paused.message = "asked";
  Event promoted = Made(7, EventKind::kPromoted, Job{TrialId{1}, 3});
  {
    auto store = StudyStore::Open(directory.path("rung.db"));
    REQUIRE(store.ok());
    Batch batch;
    batch.studies.push_back(Record(1, "first"));
    for (const Event& event : {Created(1, 1), Granted(2, job, 1), lost, Granted(4, job, 2), checkpoint,
                               Result(6, job, 2), promoted, failed, paused}) {
      batch.events.push_back({StudyId{1}, event});
    }
    REQUIRE((*store)->Append(batch).ok());
  }
  auto store = StudyStore::Open(directory.path("rung.db"));
  REQUIRE(store.ok());
  const std::vector<Event> events = Loaded(**store);
  REQUIRE(events.size() == 9);
  for (size_t i = 0; i < events.size(); ++i) {
    CHECK(events[i].seq == static_cast<int64_t>(i) + 1);
    CHECK(absl::ToUnixMicros(events[i].at) == 1'700'000'000'000'000 + events[i].seq);
  }
  CHECK(events[0].config == Created(1, 1).config);
  CHECK(events[0].origin.source == Origin::Source::kModel);
  CHECK(events[0].origin.pending == std::vector<TrialId>{TrialId{4}, TrialId{9}});
  CHECK(events[0].origin.detail_json == "{\"candidates\":64}");
  CHECK(events[0].bracket == 1);
  CHECK(events[0].first_rung == 2);
  CHECK(events[1].worker == "host-0");
  CHECK(events[1].resume_rung == 1);
  CHECK(events[1].resume_attempt == 3);
  CHECK(events[2].loss == LossReason::kKilled);
  CHECK(events[4].result.charged == 1.75);
  CHECK(events[5].job == job);
  CHECK(events[5].result.values.at("validation/accuracy") == 0.1 + 0.2);
  CHECK(std::isnan(events[5].result.values.at("a")));
  CHECK(events[5].result.values.at("b") == -std::numeric_limits<double>::infinity());
  CHECK(events[5].result.charged == 2.9999999999999996);
  CHECK(events[5].result.outputs.at("confusion_matrix") == "confusion.json");
  CHECK(events[5].identity == "0123");
  CHECK_FALSE(events[5].copied_from.has_value());
  CHECK(events[6].job.rung == 3);
  CHECK(events[7].trial_state == TrialState::kFailed);
  CHECK(events[7].cause == FailureCause::kDiverged);
  CHECK(events[7].message == "loss is nan");
  CHECK(events[8].study_state == StudyState::kPaused);
  CHECK((*store)->EventsOf(StudyId{1}, TrialId{1})->size() == 8);
}

TEST_CASE("a copied result keeps its source and ends no attempt") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  const Job job{TrialId{1}};
  Event copy = Result(2, job, 5);
  copy.copied_from = CopiedFrom{StudyId{7}, Job{TrialId{3}, 1, 2, AttemptKind::kTrain}};
  Batch batch;
  batch.studies.push_back(Record(1, "first"));
  batch.events = {{StudyId{1}, Created(1, 1)}, {StudyId{1}, copy}};
  REQUIRE((*store)->Append(batch).ok());
  const std::vector<Event> events = Loaded(**store);
  REQUIRE(events[1].copied_from.has_value());
  CHECK(events[1].copied_from->study == StudyId{7});
  CHECK(events[1].copied_from->job == copy.copied_from->job);
}

TEST_CASE("a batch that breaks a rule leaves nothing behind") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  const Job job{TrialId{1}};
  Batch first;
  first.studies.push_back(Record(1, "first"));
  first.events = {
      {StudyId{1}, Created(1, 1)}, {StudyId{1}, Granted(2, job, 1)}, {StudyId{1}, Result(3, job, 1)}};
  REQUIRE((*store)->Append(first).ok());
  Batch second;
  SECTION("a second result of the same key") {
    second.events = {{StudyId{1}, Granted(4, job, 2)}, {StudyId{1}, Result(5, job, 2)}};
  }
  SECTION("two running attempts of one job") {
    second.events = {{StudyId{1}, Granted(4, job, 2)}, {StudyId{1}, Granted(5, job, 3)}};
  }
  SECTION("an event of a study that does not exist") {
    second.events = {{StudyId{1}, Created(4, 2)}, {StudyId{2}, Created(5, 3)}};
  }
  second.requests.push_back({"id", "sha", "answer"});
  CHECK_FALSE((*store)->Append(second).ok());
  CHECK(Loaded(**store).size() == 3);
  int requests = 0;
  REQUIRE((*store)
              ->LoadRequests(10,
                             [&](const RequestRecord&) {
                               ++requests;
                               return absl::OkStatus();
                             })
              .ok());
  CHECK(requests == 0);
}

TEST_CASE("old requests go with the commit that brings new ones") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  const auto kept = [&] {
    std::string ids;
    REQUIRE((*store)
                ->LoadRequests(100,
                               [&](const RequestRecord& record) {
                                 ids += record.request_id;
                                 return absl::OkStatus();
                               })
                .ok());
    return ids;
  };
  Batch batch;
  batch.requests = {{"a", "sha", ""}, {"b", "sha", ""}, {"c", "sha", ""}};
  REQUIRE((*store)->Append(batch).ok());
  CHECK(kept() == "abc");
  batch.requests = {{"d", "sha", ""}, {"e", "sha", ""}};
  batch.keep_requests = 3;
  REQUIRE((*store)->Append(batch).ok());
  CHECK(kept() == "cde");
}

TEST_CASE("a full disk refuses the batch, keeps what was stored and says so") {
  const Scratch directory;
  {
    auto store = StudyStore::Open(directory.path("rung.db"), /*max_pages=*/60);
    REQUIRE(store.ok());
    Batch first;
    first.studies.push_back(Record(1, "first"));
    first.events = {{StudyId{1}, Created(1, 1)}};
    REQUIRE((*store)->Append(first).ok());
    Batch large;
    for (int64_t i = 2; i < 5000; ++i) large.events.push_back({StudyId{1}, Created(i, i)});
    const absl::Status full = (*store)->Append(large);
    CHECK(absl::IsResourceExhausted(full));
    CHECK(GetErrorDetail(full)->code == "E0504");
    CHECK(Loaded(**store).size() == 1);
  }
  auto store = StudyStore::Open(directory.path("rung.db"));
  REQUIRE(store.ok());
  CHECK(Loaded(**store).size() == 1);
}

TEST_CASE("a newer schema, a foreign file and a second opener are refused") {
  const Scratch directory;
  const std::string path = directory.path("rung.db");
  SECTION("newer") {
    REQUIRE(StudyStore::Open(path).ok());
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &raw) == SQLITE_OK);
    REQUIRE(sqlite3_exec(raw, "PRAGMA user_version=99", nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(raw);
    const auto refused = StudyStore::Open(path);
    CHECK(absl::IsFailedPrecondition(refused.status()));
    CHECK(GetErrorDetail(refused.status())->code == "E0501");
    CHECK(GetErrorDetail(refused.status())->value == "99");
  }
  SECTION("foreign") {
    FILE* file = fopen(path.c_str(), "w");
    REQUIRE(file != nullptr);
    for (int i = 0; i < 100; ++i) fputs("this is no database at all ", file);
    fclose(file);
    CHECK(GetErrorDetail(StudyStore::Open(path).status())->code == "E0502");
  }
  SECTION("another opener") {
    const auto first = StudyStore::Open(path);
    REQUIRE(first.ok());
    const auto second = StudyStore::Open(path);
    CHECK(absl::IsAborted(second.status()));
    CHECK(GetErrorDetail(second.status())->code == "E0503");
  }
}

TEST_CASE("studies, workers, requests and points are loaded again") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  Batch batch;
  batch.studies = {Record(1, "first"), Record(2, "second")};
  batch.events = {{StudyId{1}, Created(1, 1)}};
  batch.workers.push_back({"h-0", "0", "old", "h", "boot", 10, 20, "cpu", "", ""});
  batch.workers.push_back({"h-0", "0", "new", "h", "boot", 11, 21, "cpu", "42", "told to leave"});
  for (const char* id : {"a", "b", "c"}) batch.requests.push_back({id, "sha", std::string("\0x", 2)});
  const AttemptKey key{StudyId{1}, Job{TrialId{1}, 0, 0, AttemptKind::kTrain}, 1};
  batch.points.push_back({key, 7, 0.5, "train/loss", 0.25});
  batch.points.push_back({key, 7, 0.5, "train/loss", std::numeric_limits<double>::quiet_NaN()});
  batch.active_seconds[StudyId{2}] = 9.5;
  batch.idle_seconds[StudyId{2}] = 2.25;
  REQUIRE((*store)->Append(batch).ok());

  std::vector<StudyRecord> studies;
  REQUIRE((*store)
              ->LoadStudies([&](StudyRecord record) {
                studies.push_back(std::move(record));
                return absl::OkStatus();
              })
              .ok());
  REQUIRE(studies.size() == 2);
  CHECK(studies[0].canonical_json == Record(1, "first").canonical_json);
  CHECK(studies[0].inputs == Record(1, "first").inputs);
  CHECK(studies[0].data_sha256 == Record(1, "first").data_sha256);
  CHECK(studies[0].created_at == Record(1, "first").created_at);
  CHECK(studies[0].active_seconds == 1.5);
  CHECK(studies[1].active_seconds == 9.5);
  CHECK(studies[0].idle_seconds == 0);
  CHECK(studies[1].idle_seconds == 2.25);

  std::vector<WorkerRecord> workers;
  REQUIRE((*store)
              ->LoadWorkers([&](WorkerRecord record) {
                workers.push_back(std::move(record));
                return absl::OkStatus();
              })
              .ok());
  REQUIRE(workers.size() == 1);
  CHECK(workers[0].instance == "new");
  CHECK(workers[0].start_time == 21);
  CHECK(workers[0].sent_home == "told to leave");

  std::vector<RequestRecord> requests;
  REQUIRE((*store)
              ->LoadRequests(2,
                             [&](RequestRecord record) {
                               requests.push_back(std::move(record));
                               return absl::OkStatus();
                             })
              .ok());
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].request_id == "b");
  CHECK(requests[1].answer == std::string("\0x", 2));

  const auto points = (*store)->PointsOf(StudyId{1}, TrialId{1});
  REQUIRE(points.ok());
  REQUIRE(points->size() == 1);
  CHECK(std::isnan(points->front().value));
}

TEST_CASE("points of an evaluation stand beside those of the training") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  Batch batch;
  batch.studies = {Record(1, "first")};
  batch.events = {{StudyId{1}, Created(1, 1)}};
  for (const AttemptKind kind : {AttemptKind::kTrain, AttemptKind::kEvaluate}) {
    const AttemptKey key{StudyId{1}, Job{TrialId{1}, 0, 0, kind}, 1};
    batch.points.push_back({key, 7, 0.5, "score", kind == AttemptKind::kTrain ? 0.25 : 0.75});
  }
  REQUIRE((*store)->Append(batch).ok());
  const auto points = (*store)->PointsOf(StudyId{1}, TrialId{1});
  REQUIRE(points.ok());
  REQUIRE(points->size() == 2);
  for (const MetricPoint& point : *points)
    CHECK(point.value == (point.key.job.kind == AttemptKind::kTrain ? 0.25 : 0.75));
  const auto rest = (*store)->PointsOf(StudyId{1}, TrialId{1}, &points->front(), 5);
  REQUIRE(rest.ok());
  REQUIRE(rest->size() == 1);
  CHECK(rest->front().key.job.kind == points->back().key.job.kind);
}

TEST_CASE("what a lost attempt used is kept") {
  auto store = StudyStore::Open(":memory:");
  REQUIRE(store.ok());
  const Job job{TrialId{1}, 2};
  Event lost = Made(3, EventKind::kAttemptLost, job, 1);
  lost.spent = {1.7999999999999998, 2.125};
  Batch batch;
  batch.studies = {Record(1, "first")};
  batch.events = {{StudyId{1}, Created(1, 1)}, {StudyId{1}, Granted(2, job, 1)}, {StudyId{1}, lost}};
  REQUIRE((*store)->Append(batch).ok());
  const std::vector<Event> events = Loaded(**store);
  REQUIRE(events.size() == 3);
  CHECK(events[2].spent.charged == lost.spent.charged);
  CHECK(events[2].spent.device_seconds == lost.spent.device_seconds);
}

TEST_CASE("a database of schema 1 is migrated, and kept as it was") {
  const Scratch directory;
  const std::string path = directory.path("rung.db");
  const auto execute = [&path](const std::string& sql) {
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &raw) == SQLITE_OK);
    char* error = nullptr;
    const int code = sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, &error);
    INFO((error == nullptr ? "" : error));
    REQUIRE(code == SQLITE_OK);
    sqlite3_close(raw);
  };
  execute(kSchema1);
  execute(R"(PRAGMA application_id=1381322311; PRAGMA user_version=1;
    INSERT INTO study VALUES (1, 'old', '{}', '{}', '{}', 5, 1.5);
    INSERT INTO metric_point VALUES (1, 1, 2, 0, 3, 40, 'score', 0.5, 0.25);
    INSERT INTO metric_point VALUES (1, 1, 2, 0, 3, 41, 'score', 0.6, NULL);)");
  {
    const auto store = StudyStore::Open(path);
    REQUIRE(store.ok());
    const auto points = (*store)->PointsOf(StudyId{1}, TrialId{1});
    REQUIRE(points.ok());
    REQUIRE(points->size() == 2);
    const MetricPoint& point = points->front();
    CHECK(point.key == AttemptKey{StudyId{1}, Job{TrialId{1}, 2, 0, AttemptKind::kTrain}, 3});
    CHECK(point.step == 40);
    CHECK(point.name == "score");
    CHECK(point.budget == 0.5);
    CHECK(point.value == 0.25);
    CHECK(std::isnan(points->back().value));
    REQUIRE((*store)
                ->LoadStudies([](const StudyRecord& record) {
                  CHECK(record.active_seconds == 1.5);
                  CHECK(record.idle_seconds == 0);
                  return absl::OkStatus();
                })
                .ok());
  }
  sqlite3* kept = nullptr;
  REQUIRE(sqlite3_open_v2((path + ".schema1").c_str(), &kept, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
  CHECK(sqlite3_exec(kept, "SELECT trial, rung, replicate, attempt FROM metric_point", nullptr, nullptr,
                     nullptr) == SQLITE_OK);
  sqlite3_close(kept);
  CHECK(StudyStore::Open(path).ok());
}

}  // namespace rung
