#include "storage/backup.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "storage/schema.h"
#include "storage/study_store.h"
#include "tests/scratch.h"

namespace rung {
namespace {

// The n-th event, large enough that some hundreds fill many pages.
Batch BatchOf(int64_t n) {
  Batch batch;
  if (n == 1) batch.studies.push_back({StudyId{1}, "{}", "s", {}, {}, absl::UnixEpoch(), 0});
  Event event;
  event.seq = n;
  event.at = absl::FromUnixMicros(1'700'000'000'000'000 + n);
  event.kind = EventKind::kStudyState;
  event.message = std::string(1000, 'm');
  batch.events.push_back({StudyId{1}, event});
  return batch;
}

// A store of 300 events at `path`.
std::unique_ptr<StudyStore> Filled(const std::string& path) {
  auto store = StudyStore::Open(path);
  REQUIRE(store.ok());
  for (int64_t n = 1; n <= 300; ++n) REQUIRE((*store)->Append(BatchOf(n)).ok());
  return *std::move(store);
}

absl::StatusOr<DatabaseFacts> Copy(StudyStore& store, const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const auto copy, store.BeginCopy(path));
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const bool whole, copy->Step(10));
    if (whole) return copy->Finish();
  }
}

int64_t EventsIn(const std::string& path) {
  const auto store = StudyStore::Open(path);
  INFO(store.status().message());
  REQUIRE(store.ok());
  int64_t events = 0;
  REQUIRE((*store)
              ->LoadEvents([&](StudyId, const Event&) {
                ++events;
                return absl::OkStatus();
              })
              .ok());
  return events;
}

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

void Overwrite(const std::string& path, int64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(offset);
  file << bytes;
}

TEST_CASE("a copy that is taken while the database is written has all of it, privately") {
  const Scratch scratch;
  const std::string path = scratch.path("copy.db");
  const auto store = Filled(scratch.path("rung.db"));
  auto copy = store->BeginCopy(path);
  REQUIRE(copy.ok());
  int64_t n = 300;
  for (bool whole = false; !whole;) {
    const auto step = (*copy)->Step(10);
    REQUIRE(step.ok());
    whole = *step;
    CHECK_FALSE(std::filesystem::exists(path));  // no name before it is whole
    if (!whole && n < 320) REQUIRE(store->Append(BatchOf(++n)).ok());
  }
  REQUIRE(n > 305);  // there were several steps
  const auto facts = (*copy)->Finish();
  INFO(facts.status().message());
  REQUIRE(facts.ok());
  CHECK(facts->events == n);
  CHECK(facts->studies == 1);
  CHECK(facts->schema == kSchemaVersion);
  CHECK(facts->bytes == static_cast<int64_t>(std::filesystem::file_size(path)));
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  copy->reset();
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
  CHECK_FALSE(std::filesystem::exists(path + "-wal"));
  CHECK(VerifyDatabase(path).ok());
  CHECK_FALSE(std::filesystem::exists(path + "-wal"));  // to look at it changes nothing
  CHECK(EventsIn(path) == n);
}

TEST_CASE("a copy never takes another file's place, and one that is given up leaves nothing") {
  const Scratch scratch;
  const std::string path = scratch.path("copy.db");
  const auto store = Filled(scratch.path("rung.db"));
  REQUIRE(WriteFileAtomic(path, "mine").ok());
  CHECK(CodeOf(Copy(*store, path).status()) == "E0510");
  std::filesystem::remove(path);
  {
    const auto copy = store->BeginCopy(path);
    REQUIRE(copy.ok());
    REQUIRE((*copy)->Step(10).ok());
    CHECK(std::filesystem::exists(path + ".part"));
  }
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
  {  // one that came meanwhile
    const auto copy = store->BeginCopy(path);
    REQUIRE(copy.ok());
    REQUIRE(*(*copy)->Step(1 << 14));
    REQUIRE(WriteFileAtomic(path, "mine").ok());
    CHECK(CodeOf((*copy)->Finish().status()) == "E0510");
  }
  CHECK(*ReadFile(path) == "mine");
  CHECK(CodeOf(Copy(*store, scratch.path("none/copy.db")).status()) == "E0603");
}

TEST_CASE("what is no whole copy is told apart") {
  const Scratch scratch;
  const std::string path = scratch.path("copy.db");
  {
    const auto store = Filled(scratch.path("rung.db"));
    REQUIRE(Copy(*store, path).ok());
    CHECK(CodeOf(VerifyDatabase(scratch.path("rung.db")).status()) == "E0509");  // in use
  }
  CHECK(CodeOf(VerifyDatabase(scratch.path("none.db")).status()) == "E0508");
  const std::string good = *ReadFile(path);
  const auto broken = [&](const std::string& bytes) {
    REQUIRE(WriteFileAtomic(path, bytes).ok());
    return CodeOf(VerifyDatabase(path).status());
  };
  CHECK(broken(good.substr(0, good.size() / 2)) == "E0502");
  CHECK(broken("") == "E0502");
  CHECK(broken("hello") == "E0502");
  std::string torn = good;
  torn.replace(good.size() / 2 / 4096 * 4096, 4096, std::string(4096, '\x55'));
  CHECK(broken(torn) == "E0502");
  REQUIRE(WriteFileAtomic(path, good).ok());
  CHECK(VerifyDatabase(path).ok());
  const auto execute = [&](const std::string& sql) {
    sqlite3* database = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
    CHECK(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(database);
  };
  execute("DELETE FROM study");  // its events are nobody's now
  CHECK(CodeOf(VerifyDatabase(path).status()) == "E0502");
  execute("PRAGMA user_version=" + std::to_string(kSchemaVersion + 1));
  CHECK(CodeOf(VerifyDatabase(path).status()) == "E0501");
  execute("PRAGMA application_id=1");
  CHECK(CodeOf(VerifyDatabase(path).status()) == "E0502");
}

TEST_CASE("a copy is put in the database's place, and what was there is kept") {
  const Scratch scratch;
  const std::string path = scratch.path("rung.db"), backup = scratch.path("copy%1?#.db"),
                    kept = scratch.path("rung.db.replaced");
  {
    const auto store = Filled(path);
    REQUIRE(Copy(*store, backup).ok());
    REQUIRE(store->Append(BatchOf(301)).ok());
  }
  SECTION("a good one") {
    const auto facts = RestoreDatabase(backup, path, kept);
    INFO(facts.status().message());
    REQUIRE(facts.ok());
    CHECK(facts->events == 300);
    CHECK(EventsIn(kept) == 301);
  }
  SECTION("one with a write-ahead log that its owner never closed") {
    std::filesystem::remove(path);
    auto store = StudyStore::Open(path);
    REQUIRE(store.ok());
    for (int64_t n = 1; n <= 3; ++n) REQUIRE((*store)->Append(BatchOf(n)).ok());
    std::filesystem::copy_file(path, scratch.path("db"));
    std::filesystem::copy_file(path + "-wal", scratch.path("wal"));
    store->reset();
    std::filesystem::rename(scratch.path("db"), path);
    std::filesystem::rename(scratch.path("wal"), path + "-wal");
    REQUIRE(RestoreDatabase(backup, path, kept).ok());
    CHECK(EventsIn(kept) == 3);
  }
  SECTION("a damaged one, with what is left of its write-ahead log") {
    Overwrite(path, 0, "no database any more");
    REQUIRE(WriteFileAtomic(path + "-wal", "log").ok());
    REQUIRE(RestoreDatabase(backup, path, kept).ok());
    CHECK(ReadFile(kept)->rfind("no database any more", 0) == 0);
    CHECK_FALSE(std::filesystem::exists(path + "-wal"));  // it would be taken for the new one's
  }
  SECTION("none") {
    std::filesystem::remove(path);
    REQUIRE(RestoreDatabase(backup, path, kept).ok());
    CHECK_FALSE(std::filesystem::exists(kept));
  }
  CHECK(EventsIn(path) == 300);
  // A damaged copy changes nothing.
  Overwrite(backup, 0, "no database any more");
  CHECK(CodeOf(RestoreDatabase(backup, path, scratch.path("other")).status()) == "E0502");
  CHECK(EventsIn(path) == 300);
}

}  // namespace
}  // namespace rung
