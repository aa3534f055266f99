#include "coordinator/state_lock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "storage/study_store.h"
#include "tests/fake_clock.h"
#include "tests/scratch.h"

namespace rung {
namespace {

struct Place {
  Place() {
    dir.root = scratch.root();
    REQUIRE(MakeDirectories(dir.lock_directory()).ok());
  }
  LockOptions Options() {
    return LockOptions{ThisProcess(), false, absl::Seconds(30),
                       [this](absl::Duration time) { clock.steady += time; }};
  }
  LockOptions OtherHost() {
    LockOptions options = Options();
    options.self.host = "elsewhere";
    return options;
  }
  const Scratch scratch;
  StateDir dir;
  FakeClock clock;
};

}  // namespace

TEST_CASE("terms grow; a released lock is taken at once, with the same database") {
  Place place;
  auto first = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(first.ok());
  CHECK((*first)->term() == 1);
  const auto held = StateLock::Acquire(place.dir, place.Options(), place.clock);
  CHECK(absl::IsAborted(held.status()));
  CHECK(GetErrorDetail(held.status())->code == "E0640");
  (*first)->Release();
  const absl::Duration before = place.clock.steady;
  const auto second = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(second.ok());
  CHECK(place.clock.steady == before);
  CHECK((*second)->term() == 2);
  CHECK((*second)->database() == place.dir.database());
}

TEST_CASE("files that are no terms do not count as such") {
  Place place;
  for (const char* name : {"9223372036854775807", "-3", "0", "notes"}) {
    REQUIRE(WriteFileAtomic(place.dir.lock_directory() + "/" + name, "x").ok());
  }
  const auto lock = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(lock.ok());
  CHECK((*lock)->term() == 1);
}

TEST_CASE("a holder on another host is dead only after its counter stood still; its database is copied") {
  Place place;
  const auto frozen = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(frozen.ok());
  REQUIRE(WriteFileAtomic(place.dir.database(), "bytes").ok());
  const absl::Duration before = place.clock.steady;
  const auto taken = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(taken.ok());
  CHECK(place.clock.steady - before >= absl::Seconds(30));
  CHECK((*taken)->database() == place.dir.root + "/rung.2.db");
  CHECK(*ReadFile((*taken)->database()) == "bytes");
  CHECK(GetErrorDetail((*frozen)->Check())->code == "E0642");
  CHECK_FALSE((*frozen)->Renew().ok());
  LockOptions for_a_call = place.OtherHost();
  for_a_call.gives_way = true;
  CHECK(absl::IsAborted(StateLock::Acquire(place.dir, for_a_call, place.clock).status()));
}

TEST_CASE("what a frozen holder committed last stands in its log and is taken over with it") {
  Place place;
  const auto frozen = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(frozen.ok());
  const auto theirs = StudyStore::Open((*frozen)->database());
  REQUIRE(theirs.ok());
  Batch batch;
  batch.studies.push_back({StudyId{1}, "{}", "first", {}, {}, absl::UnixEpoch(), 0});
  REQUIRE((*theirs)->Append(batch).ok());
  const auto taken = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(taken.ok());
  const auto ours = StudyStore::Open((*taken)->database());
  REQUIRE(ours.ok());
  std::string names;
  REQUIRE((*ours)
              ->LoadStudies([&](const StudyRecord& record) {
                names += record.name;
                return absl::OkStatus();
              })
              .ok());
  CHECK(names == "first");
}

TEST_CASE("a log that an unfinished takeover left is not taken for the new copy's") {
  Place place;
  const auto frozen = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(frozen.ok());
  REQUIRE(WriteFileAtomic(place.dir.database(), "bytes").ok());
  REQUIRE(WriteFileAtomic(place.dir.root + "/rung.2.db-wal", "of another time").ok());
  REQUIRE(StateLock::Acquire(place.dir, place.Options(), place.clock).ok());
  CHECK_FALSE(std::filesystem::exists(place.dir.root + "/rung.2.db-wal"));
}

TEST_CASE("a takeover that could not copy leaves the old database in use") {
  Place place;
  const auto frozen = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(frozen.ok());
  REQUIRE(WriteFileAtomic(place.dir.database(), "bytes").ok());
  REQUIRE(MakeDirectories(place.dir.root + "/rung.2.db/in the way").ok());
  CHECK_FALSE(StateLock::Acquire(place.dir, place.Options(), place.clock).ok());
  std::filesystem::remove_all(place.dir.root + "/rung.2.db");
  const auto taken = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(taken.ok());
  CHECK(*ReadFile((*taken)->database()) == "bytes");
}

TEST_CASE("a lock that was torn before it was whole does not change the database in use") {
  Place place;
  const auto frozen = StateLock::Acquire(place.dir, place.OtherHost(), place.clock);
  REQUIRE(frozen.ok());
  REQUIRE(WriteFileAtomic(place.dir.database(), "bytes").ok());
  const auto taken = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(taken.ok());
  (*taken)->Release();
  REQUIRE(WriteFileAtomic(place.dir.lock_directory() + "/3", "").ok());
  const auto next = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(next.ok());
  CHECK((*next)->term() == 4);
  CHECK((*next)->database() == place.dir.root + "/rung.2.db");
}

TEST_CASE("a lock whose record was whole once and is damaged names no database, and nobody guesses one") {
  Place place;
  for (int term = 1; term <= 2; ++term) {
    const auto lock = StateLock::Acquire(place.dir, place.Options(), place.clock);
    REQUIRE(lock.ok());
    (*lock)->RemoveOlder();
    (*lock)->Release();
  }
  const std::string path = place.dir.lock_directory() + "/2";
  REQUIRE(WriteFileAtomic(path, "").ok());
  const auto refused = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(GetErrorDetail(refused.status()).has_value());
  CHECK(GetErrorDetail(refused.status())->code == "E0641");
  CHECK(GetErrorDetail(refused.status())->where == path);
}

TEST_CASE("one that gives way lets a coordinator of another host in") {
  Place place;
  LockOptions for_a_call = place.OtherHost();
  for_a_call.gives_way = true;
  const auto holder = StateLock::Acquire(place.dir, for_a_call, place.clock);
  REQUIRE(holder.ok());
  CHECK_FALSE((*holder)->Wanted());
  LockOptions contender = place.Options();
  const auto pause = contender.pause;
  contender.pause = [&](absl::Duration time) {
    pause(time);
    if ((*holder)->Wanted()) (*holder)->Release();
  };
  const absl::Duration before = place.clock.steady;
  const auto taken = StateLock::Acquire(place.dir, contender, place.clock);
  REQUIRE(taken.ok());
  CHECK(place.clock.steady - before < absl::Seconds(5));
  CHECK((*taken)->database() == place.dir.database());
  CHECK(access((place.dir.lock_directory() + "/want").c_str(), F_OK) != 0);
}

TEST_CASE("a holder that could not renew fences itself") {
  Place place;
  const auto lock = StateLock::Acquire(place.dir, place.Options(), place.clock);
  REQUIRE(lock.ok());
  place.clock.steady += absl::Seconds(14);
  CHECK((*lock)->Check().ok());
  REQUIRE((*lock)->Renew().ok());
  place.clock.steady += absl::Seconds(16);
  CHECK(absl::IsAborted((*lock)->Check()));
}

TEST_CASE("a lock directory that cannot be listed says nothing about its holder") {
  Place place;
  const LockOptions options = place.Options();
  SECTION("while it is taken") {
    const pid_t child = fork();
    if (child == 0) {
      // One descriptor is left: for the lock's own file, and then none to look whether somebody was faster.
      const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
      close(next);
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = static_cast<rlim_t>(next) + 1;
      setrlimit(RLIMIT_NOFILE, &limit);
      const auto lock = StateLock::Acquire(place.dir, options, place.clock);
      _exit(!lock.ok() && GetErrorDetail(lock.status())->code == "E0641" ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(std::filesystem::is_empty(place.dir.lock_directory()));
  }
  SECTION("while it is held") {
    const auto lock = StateLock::Acquire(place.dir, options, place.clock);
    REQUIRE(lock.ok());
    std::filesystem::rename(place.dir.lock_directory(), place.dir.root + "/away");
    CHECK(GetErrorDetail((*lock)->Check())->code == "E0641");
    std::filesystem::rename(place.dir.root + "/away", place.dir.lock_directory());
    CHECK((*lock)->Check().ok());
  }
}

TEST_CASE("of eight contenders for a dead holder's lock exactly one wins") {
  Place place;
  const pid_t child = fork();
  if (child == 0) {
    const auto lock = StateLock::Acquire(place.dir, place.Options(), place.clock);
    _exit(lock.ok() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  std::array<absl::StatusOr<std::unique_ptr<StateLock>>, 8> locks;
  std::vector<std::thread> threads;
  std::array<FakeClock, 8> clocks;
  for (size_t i = 0; i < locks.size(); ++i) {
    threads.emplace_back([&, i] {
      LockOptions options{ThisProcess(), false, absl::Seconds(30), [&, i](absl::Duration t) {
                            clocks[i].steady += t;
                            absl::SleepFor(absl::Milliseconds(20));  // the winner writes its record meanwhile
                          }};
      locks[i] = StateLock::Acquire(place.dir, options, clocks[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  int winners = 0;
  for (const auto& lock : locks) {
    if (lock.ok()) {
      ++winners;
      CHECK((*lock)->term() == 2);
    } else {
      CHECK(GetErrorDetail(lock.status())->code == "E0640");
    }
  }
  CHECK(winners == 1);
}

}  // namespace rung
