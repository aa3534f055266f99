// Power cuts: what Append acknowledged is there afterwards, and of no batch a part.
#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "base/status.h"
#include "storage/sqlite.h"
#include "storage/study_store.h"
#include "tests/storage/lossy_disk.h"

namespace rung {
namespace {

constexpr int kCuts = 2000;
constexpr int64_t kMostOperations = 400;  // to a cut; a checkpoint of the log comes every thousand pages
constexpr int64_t kEventsOfBatch = 3;

Event Made(int64_t seq, EventKind kind, const Job& job, int64_t attempt) {
  Event event;
  event.seq = seq;
  event.at = absl::FromUnixMicros(1'700'000'000'000'000 + seq);
  event.kind = kind;
  event.job = job;
  event.attempt = attempt;
  return event;
}

// The n-th trial, granted and reported in one transaction.
Batch BatchOf(int64_t trial) {
  Batch batch;
  if (trial == 1) batch.studies.push_back({StudyId{1}, "{}", "s", {}, {}, absl::UnixEpoch(), 0});
  const Job job{TrialId{trial}};
  const int64_t seq = (trial - 1) * kEventsOfBatch;
  Event result = Made(seq + 3, EventKind::kResult, job, 1);
  result.result.values = {{"score", static_cast<double>(trial)}};
  batch.events = {{StudyId{1}, Made(seq + 1, EventKind::kTrialCreated, job, 0)},
                  {StudyId{1}, Made(seq + 2, EventKind::kAttemptGranted, job, 1)},
                  {StudyId{1}, result}};
  batch.requests.push_back({"r" + std::to_string(trial), "sha", "answer"});
  return batch;
}

// How many trials are stored; all that a batch of theirs has, or nothing.
int64_t Stored(StudyStore& store) {
  std::map<EventKind, int64_t> events;
  double last = 0;
  REQUIRE(store
              .LoadEvents([&](StudyId, const Event& event) {
                ++events[event.kind];
                if (event.kind == EventKind::kResult) last = event.result.values.at("score");
                return absl::OkStatus();
              })
              .ok());
  int64_t requests = 0;
  REQUIRE(store
              .LoadRequests(INT64_MAX,
                            [&](const RequestRecord&) {
                              ++requests;
                              return absl::OkStatus();
                            })
              .ok());
  const int64_t trials = events[EventKind::kTrialCreated];
  CHECK(events[EventKind::kAttemptGranted] == trials);
  CHECK(events[EventKind::kResult] == trials);
  CHECK(requests == trials);
  CHECK(last == static_cast<double>(trials));
  return trials;
}

TEST_CASE("2,000 power cuts lose nothing that was acknowledged") {
  LossyDisk disk(1);
  Rng rng(1, 2);
  int64_t acknowledged = 0;
  for (int cut = 0; cut < kCuts; ++cut) {
    INFO("cut " << cut);
    disk.CutAfter(1 + rng.Below(kMostOperations));
    if (const auto store = StudyStore::Open("/rung.db"); store.ok()) {
      while ((*store)->Append(BatchOf(acknowledged + 1)).ok()) ++acknowledged;
    }
    disk.Restore();
    {
      const auto store = StudyStore::Open("/rung.db");
      INFO(store.status().message());
      REQUIRE(store.ok());
      const int64_t stored = Stored(**store);
      REQUIRE(stored >= acknowledged);
      REQUIRE(stored <= acknowledged + 1);  // the one that failed may have reached the disk
      acknowledged = stored;
    }
    if (acknowledged > 500) {  // begin anew: reading all of it after each cut would take long
      disk.Delete("/rung.db");
      disk.Delete("/rung.db-wal");
      acknowledged = 0;
    }
  }
}

// The process was killed between the write of a commit and its sync: the next one reads it, and may tell of
// it.
TEST_CASE("what a store shows after a kill survives a power cut, at whichever operation it was killed") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    LossyDisk disk(seed);
    bool passed = false;
    for (int64_t operation = 1; !passed; ++operation) {
      INFO("seed " << seed << " operation " << operation);
      REQUIRE(operation < 200);
      {
        const auto store = StudyStore::Open("/rung.db");
        REQUIRE(store.ok());
        REQUIRE((*store)->Append(BatchOf(1)).ok());
        disk.CutAfter(operation);
        passed = (*store)->Append(BatchOf(2)).ok();
        disk.CutAfter(0);
      }
      disk.GoOn();
      int64_t shown = 0;
      {
        const auto store = StudyStore::Open("/rung.db");
        REQUIRE(store.ok());
        shown = Stored(**store);
        disk.CutAfter(0);
      }
      disk.Restore();
      {
        const auto store = StudyStore::Open("/rung.db");
        REQUIRE(store.ok());
        CHECK(Stored(**store) == shown);
      }
      CHECK(shown >= (passed ? 2 : 1));
      disk.Delete("/rung.db");
      disk.Delete("/rung.db-wal");
    }
  }
}

// The same without a sync at each commit loses commits: the harness would have noticed.
TEST_CASE("with synchronous=NORMAL the same power cuts lose commits") {
  LossyDisk disk(1);
  Rng rng(1, 2);
  int losses = 0;
  int64_t acknowledged = 0;
  for (int cut = 0; cut < kCuts / 10; ++cut) {
    {
      auto database = Sqlite::Open("/control.db");
      REQUIRE(database.ok());
      REQUIRE(database->Execute("CREATE TABLE IF NOT EXISTS number (value INTEGER PRIMARY KEY)").ok());
      REQUIRE(database->Execute("PRAGMA synchronous=NORMAL").ok());
      disk.CutAfter(1 + rng.Below(kMostOperations));
      while (database->Execute("INSERT INTO number VALUES (" + std::to_string(acknowledged + 1) + ")").ok())
        ++acknowledged;
    }
    disk.Restore();
    auto database = Sqlite::Open("/control.db");
    REQUIRE(database.ok());
    const auto stored = database->Integer("SELECT coalesce(max(value), 0) FROM number");
    REQUIRE(stored.ok());
    if (*stored < acknowledged) ++losses;
    acknowledged = *stored;
  }
  CHECK(losses > kCuts / 20);
}

}  // namespace
}  // namespace rung
