#include "worker/local_file_system.h"

#include <catch2/catch.hpp>

namespace rung {
namespace {

TEST_CASE("what a host has for itself is told from all else") {
  CHECK(OnLocalFileSystem("/dev/shm"));
  CHECK_FALSE(OnLocalFileSystem("/proc"));  // none of those that are known to be
  CHECK_FALSE(OnLocalFileSystem("/none"));
}

}  // namespace
}  // namespace rung
