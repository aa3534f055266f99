#include "coordinator/core_loop.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "coordinator/state_lock.h"
#include "tests/coordinator/demo_study.h"
#include "tests/fake_clock.h"
#include "tests/scratch.h"
#include "tests/storage/lossy_disk.h"

namespace rung {
namespace {

v1::CreateStudyRequest CreateDemo() {
  v1::CreateStudyRequest request;
  request.set_canonical_json(kStudy);
  request.set_resume_if_same(true);
  return request;
}

// What a call is answered, waited for.
absl::Status Submitted(CoreLoop& loop, const v1::CreateStudyRequest& request) {
  std::promise<absl::Status> answer;
  loop.Submit(request, [&](const absl::Status& status, const std::string&) { answer.set_value(status); });
  return answer.get_future().get();
}

// What callers heard of a study on a disk that fails at its `operation`-th write, sync or removal.
struct Told {
  absl::Status create, read;
  size_t in_memory = 0;
};

Told CreateOn(LossyDisk& disk, int64_t operation, const std::string& root) {
  SystemClock clock;
  Log log("test", clock);
  CoreOptions options;
  options.dir = StateDir{root};
  auto store = StudyStore::Open("/rung.db");
  REQUIRE(store.ok());
  CoreLoop loop(Core(options), *std::move(store), nullptr, clock, log);
  std::atomic<int> failures{0};
  loop.Start([](const Push&) {}, [&] { ++failures; });
  disk.CutAfter(operation);
  // The call and the read behind it share a group: until both are there the core thread waits.
  std::promise<void> go;
  loop.Post([gate = go.get_future().share()](const Core&, StudyStore&) { gate.wait(); });
  Told told;
  std::promise<absl::Status> answer;
  loop.Submit(CreateDemo(),
              [&](const absl::Status& status, const std::string&) { answer.set_value(status); });
  loop.Post([&](const Core& core, StudyStore&) {
    told.read = loop.unavailable();
    told.in_memory = core.studies().size();
  });
  go.set_value();
  told.create = answer.get_future().get();
  loop.Run([](const Core&, StudyStore&) {});
  if (!told.create.ok()) {
    CHECK(failures == 1);
    CHECK_FALSE(loop.failure().ok());
    // Never a second COMMIT, whatever is asked after the first one failed.
    const int64_t asked = disk.asked();
    CHECK(absl::IsUnavailable(Submitted(loop, CreateDemo())));
    loop.Run([](const Core&, StudyStore&) {});
    CHECK(disk.asked() == asked);
    CHECK(ReadFile(options.dir.status()).value_or("").find("demo") == std::string::npos);
  }
  loop.Stop();
  CHECK_FALSE(loop.Post([](const Core&, StudyStore&) {}));
  CHECK_FALSE(loop.Run([](const Core&, StudyStore&) {}));
  return told;
}

int Stored(const std::string& database) {
  const auto store = StudyStore::Open(database);
  REQUIRE(store.ok());
  int studies = 0;
  REQUIRE((*store)
              ->LoadStudies([&](StudyRecord) {
                ++studies;
                return absl::OkStatus();
              })
              .ok());
  return studies;
}

// A clock on which somebody acts when it is read for the `at`-th time.
class ActingClock final : public Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch(); }
  absl::Duration Steady() override {
    if (--left_ == 0) act_();
    return absl::Seconds(100);
  }
  void Act(int at, std::function<void()> act) {
    act_ = std::move(act);
    left_ = at;
  }
  bool acted() const { return left_ <= 0; }

 private:
  std::function<void()> act_;
  std::atomic<int> left_{0};
};

}  // namespace

TEST_CASE("whichever operation of a commit fails, nothing is told that is not stored") {
  LossyDisk disk(1);
  int64_t operation = 0;
  bool acknowledged = false;
  while (!acknowledged) {
    INFO("operation " << ++operation);
    REQUIRE(operation < 100);
    const Scratch scratch;
    const Told told = CreateOn(disk, operation, scratch.root());
    acknowledged = told.create.ok();
    CHECK(told.read.code() == told.create.code());
    CHECK((told.create.ok() || absl::IsUnavailable(told.create)));
    CHECK(told.in_memory == 1);  // memory is ahead of the store: what a read would have shown
    disk.Restore();
    if (acknowledged) CHECK(Stored("/rung.db") == 1);
    disk.Delete("/rung.db");
    disk.Delete("/rung.db-wal");
  }
  CHECK(operation > 2);  // a commit writes and syncs: each of these failed once
}

TEST_CASE("whenever another host takes the directory over, it has what was acknowledged") {
  int acknowledged = 0, refused = 0;
  for (int at = 1;; ++at) {
    INFO("at " << at);
    REQUIRE(at < 100);
    const Scratch scratch;
    const StateDir dir{scratch.root()};
    REQUIRE(MakeDirectories(dir.lock_directory()).ok());
    FakeClock lock_clock;
    const LockOptions here{ThisProcess(), false, absl::Seconds(30), {}};
    LockOptions elsewhere = here;
    elsewhere.self.host = "elsewhere";
    elsewhere.pause = [&](absl::Duration time) { lock_clock.steady += time; };
    const auto lock = StateLock::Acquire(dir, here, lock_clock);
    REQUIRE(lock.ok());
    absl::StatusOr<std::unique_ptr<StateLock>> taken = absl::UnknownError("not tried");
    ActingClock clock;
    Log log("test", clock);
    CoreOptions options;
    options.dir = dir;
    auto store = StudyStore::Open((*lock)->database());
    REQUIRE(store.ok());
    CoreLoop loop(Core(options), *std::move(store), lock->get(), clock, log);
    loop.Start([](const Push&) {}, [] {});
    clock.Act(at, [&] { taken = StateLock::Acquire(dir, elsewhere, lock_clock); });
    const bool told = Submitted(loop, CreateDemo()).ok();
    loop.Stop();
    if (!clock.acted()) break;
    REQUIRE(taken.ok());
    if (told) CHECK(Stored((*taken)->database()) == 1);
    ++(told ? acknowledged : refused);
  }
  CHECK(acknowledged > 0);
  CHECK(refused > 0);
}

TEST_CASE("directories are removed on a thread of their own, all of them by its end") {
  const Scratch scratch;
  SystemClock clock;
  Log log("test", clock);
  {
    DirectoryRemover remover(clock, log);
    for (int i = 0; i < 20; ++i) {
      const std::string path = scratch.path(std::to_string(i));
      REQUIRE(MakeDirectories(path + "/attempt").ok());
      REQUIRE(WriteFileAtomic(path + "/attempt/weights", "w").ok());
      remover.Remove(path);
    }
    remover.Remove(scratch.path("not-there"));
  }
  CHECK(std::filesystem::is_empty(scratch.root()));
}

TEST_CASE("what lies behind a link among the checkpoints is not removed") {
  const Scratch scratch;
  SystemClock clock;
  Log log("test", clock);
  const std::string trial = scratch.path("studies/1/checkpoints/2");
  REQUIRE(MakeDirectories(scratch.path("victim/0/0/1")).ok());
  REQUIRE(WriteFileAtomic(scratch.path("victim/0/0/1/thesis"), "t").ok());
  REQUIRE(MakeDirectories(scratch.path("studies/1/checkpoints/3/0/0/1")).ok());
  std::filesystem::create_directory_symlink(scratch.path("victim"), trial);
  {
    DirectoryRemover remover(clock, log);
    remover.Remove(trial + "/0/0/1");
    remover.Remove(trial);  // the link itself goes
    remover.Remove(scratch.path("studies/1/checkpoints/3/0/0/1"));
  }
  CHECK(*ReadFile(scratch.path("victim/0/0/1/thesis")) == "t");
  CHECK_FALSE(std::filesystem::is_symlink(std::filesystem::symlink_status(trial)));
  CHECK_FALSE(std::filesystem::exists(scratch.path("studies/1/checkpoints/3/0/0/1")));
}

}  // namespace rung
