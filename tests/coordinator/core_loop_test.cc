#include "coordinator/core_loop.h"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/file.h"

namespace rung {

TEST_CASE("directories are removed on a thread of their own, all of them by its end") {
  std::string pattern = (std::filesystem::temp_directory_path() / "rung-remove-XXXXXX").string();
  const std::string root = mkdtemp(pattern.data());
  SystemClock clock;
  Log log("test", clock);
  {
    DirectoryRemover remover(clock, log);
    for (int i = 0; i < 20; ++i) {
      const std::string path = root + "/" + std::to_string(i);
      REQUIRE(MakeDirectories(path + "/attempt").ok());
      REQUIRE(WriteFileAtomic(path + "/attempt/weights", "w").ok());
      remover.Remove(path);
    }
    remover.Remove(root + "/not-there");
  }
  CHECK(std::filesystem::is_empty(root));
  std::filesystem::remove_all(root);
}

}  // namespace rung
