// kill -9 in the middle of what moves whole databases: a migration, a copy, a restore. At whichever moment it
// comes, the database is the old one or the new one, and a copy that has its name is whole.
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <string>

#include "base/clock.h"
#include "search/rng.h"
#include "storage/backup.h"
#include "storage/schema.h"
#include "storage/study_store.h"
#include "tests/scratch.h"

namespace rung {
namespace {

constexpr int kKills = 40;
constexpr int64_t kEvents = 200;

// Runs `what` in a process of its own, and kills it after `time`; false: it had ended before.
bool RunKilled(absl::Duration time, const std::function<bool()>& what) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(what() ? 0 : 1);
  }
  absl::SleepFor(time);
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0));
  return WIFSIGNALED(status);
}

// The same at moments all over the time that it takes. `prepare` and `check` come before and after each.
void KillAllOver(const std::function<void()>& prepare, const std::function<bool()>& what,
                 const std::function<void()>& check) {
  SystemClock clock;
  Rng rng(1, 0x6b696c6c);
  absl::Duration whole = absl::Seconds(60);
  int killed = 0;
  for (int i = 0; i <= kKills; ++i) {
    const absl::Duration moment = whole * rng.Uniform();
    INFO("kill " << i << " after " << absl::FormatDuration(moment));
    prepare();
    if (i == 0) {  // undisturbed, to know how long it takes
      const absl::Duration begin = clock.Steady();
      REQUIRE(what());
      whole = 1.2 * (clock.Steady() - begin);
    } else {
      killed += RunKilled(moment, what) ? 1 : 0;
    }
    check();
  }
  CHECK(killed > 0);
}

void Fill(const std::string& path, int64_t events) {
  auto store = StudyStore::Open(path);
  REQUIRE(store.ok());
  for (int64_t n = 1; n <= events; ++n) {
    Batch batch;
    if (n == 1) batch.studies.push_back({StudyId{1}, "{}", "s", {}, {}, absl::UnixEpoch(), 0});
    Event event;
    event.seq = n;
    event.kind = EventKind::kStudyState;
    event.message = std::string(1000, 'm');
    batch.events.push_back({StudyId{1}, event});
    REQUIRE((*store)->Append(batch).ok());
  }
}

int64_t EventsIn(const std::string& path) {
  const auto store = StudyStore::Open(path);
  INFO(store.status().message());
  REQUIRE(store.ok());
  int64_t events = 0;
  const absl::Status read = (*store)->LoadEvents([&](StudyId, const Event&) {
    ++events;
    return absl::OkStatus();
  });
  REQUIRE(read.ok());
  return events;
}

TEST_CASE("a copy that was killed leaves the database, and nothing under the copy's name that is not whole") {
  const Scratch scratch;
  const std::string path = scratch.path("rung.db"), copy = scratch.path("copy.db");
  Fill(path, kEvents);
  const auto make_copy = [&] {
    const auto store = StudyStore::Open(path);
    if (!store.ok()) return false;
    const auto made = (*store)->BeginCopy(copy);
    if (!made.ok()) return false;
    while (true) {
      const absl::StatusOr<bool> whole = (*made)->Step(5);
      if (!whole.ok()) return false;
      if (*whole) return (*made)->Finish().ok();
    }
  };
  KillAllOver([&] { std::filesystem::remove(copy); }, make_copy,
              [&] {
                CHECK(EventsIn(path) == kEvents);
                if (!std::filesystem::exists(copy)) return;
                const auto facts = VerifyDatabase(copy);
                INFO(facts.status().message());
                REQUIRE(facts.ok());
                CHECK(facts->events == kEvents);
              });
}

TEST_CASE("a restore that was killed leaves the old database or the new one, and can be made again") {
  const Scratch scratch;
  const std::string path = scratch.path("rung.db"), backup = scratch.path("backup.db");
  const std::string kept = scratch.path("kept.db"), old_one = scratch.path("old.db");
  Fill(backup, kEvents);
  Fill(old_one, kEvents + 1);
  const auto prepare = [&] {
    for (const std::string& file : {path, path + "-wal", kept, kept + "-wal"}) std::filesystem::remove(file);
    std::filesystem::copy_file(old_one, path);
  };
  KillAllOver(
      prepare, [&] { return RestoreDatabase(backup, path, kept).ok(); },
      [&] {
        REQUIRE(std::filesystem::exists(path));
        const int64_t events = EventsIn(path);
        CHECK((events == kEvents || events == kEvents + 1));
        if (events == kEvents) CHECK(EventsIn(kept) == kEvents + 1);
        const auto again = RestoreDatabase(backup, path, scratch.path("kept-again.db"));
        INFO(again.status().message());
        CHECK(again.ok());
        CHECK(EventsIn(path) == kEvents);
        std::filesystem::remove(scratch.path("kept-again.db"));
      });
}

TEST_CASE("a migration that was killed is made again by the next start, and loses nothing") {
  const Scratch scratch;
  const std::string path = scratch.path("rung.db"), first = scratch.path("first.db");
  {
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(first.c_str(), &raw) == SQLITE_OK);
    const std::string rows =
        R"(PRAGMA application_id=1381322311; PRAGMA user_version=1;
           INSERT INTO study VALUES (1, 'old', '{}', '{}', '{}', 5, 1.5);
           WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000)
           INSERT INTO metric_point SELECT 1, 1, 2, 0, 3, n, 'score', 0.5, 0.25 FROM step;)";
    REQUIRE(sqlite3_exec(raw, (kSchema1 + rows).c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(raw);
  }
  const auto prepare = [&] {
    for (const std::string& file : {path, path + "-wal", path + ".schema1"}) std::filesystem::remove(file);
    std::filesystem::copy_file(first, path);
  };
  KillAllOver(
      prepare, [&] { return StudyStore::Open(path).ok(); },
      [&] {
        {
          const auto store = StudyStore::Open(path);
          INFO(store.status().message());
          REQUIRE(store.ok());
          const auto points = (*store)->PointsOf(StudyId{1}, TrialId{1});
          REQUIRE(points.ok());
          CHECK(points->size() == 20'000);
        }
        REQUIRE(std::filesystem::exists(path + ".schema1"));
        sqlite3* snapshot = nullptr;
        REQUIRE(sqlite3_open_v2((path + ".schema1").c_str(), &snapshot, SQLITE_OPEN_READONLY, nullptr) ==
                SQLITE_OK);
        CHECK(sqlite3_exec(snapshot, "SELECT trial, rung, replicate, attempt FROM metric_point LIMIT 1",
                           nullptr, nullptr, nullptr) == SQLITE_OK);
        sqlite3_close(snapshot);
      });
}

}  // namespace
}  // namespace rung
