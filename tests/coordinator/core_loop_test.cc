#include "coordinator/core_loop.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/file.h"
#include "tests/scratch.h"

namespace rung {

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
