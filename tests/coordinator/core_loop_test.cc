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

}  // namespace rung
