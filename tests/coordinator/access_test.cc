#include "coordinator/access.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/status.h"
#include "tests/fake_clock.h"

namespace rung {
namespace {

TEST_CASE("a rotated token and the one before it are taken for a time, then the new one alone") {
  FakeClock clock;
  Access access({{"admin", "one"}, {"viewer", "see"}}, clock);
  const auto takes = [&](const std::string& token) {
    return access.Check("Bearer " + token, "Studies/CreateStudy").ok();
  };
  CHECK(takes("one"));
  access.Replace("admin", "two", absl::Seconds(10));
  CHECK(takes("one"));
  CHECK(takes("two"));
  clock.steady += absl::Seconds(9);
  CHECK(takes("one"));
  clock.steady += absl::Seconds(1);
  CHECK_FALSE(takes("one"));
  CHECK(takes("two"));
  // Two rotations in a row: the first one's overlap ends with the second.
  access.Replace("admin", "three", absl::Seconds(10));
  access.Replace("admin", "four", absl::Seconds(10));
  CHECK_FALSE(takes("two"));
  CHECK(takes("three"));
  CHECK(takes("four"));
  access.Replace("admin", "five", absl::ZeroDuration());
  CHECK_FALSE(takes("four"));
  CHECK(takes("five"));
  CHECK(access.Check("Bearer see", "Studies/ListStudies").ok());  // another role's stays
  CHECK(GetErrorDetail(access.Check("Bearer see", "Studies/CreateStudy"))->code == "E0673");
  for (const char* wrong : {"", "Bearer", "Bearer ", "five", "bearer five", "Bearer fiv", "Bearer five "}) {
    INFO(wrong);
    CHECK(GetErrorDetail(access.Check(wrong, "Studies/CreateStudy"))->code == "E0672");
  }
  CHECK(GetErrorDetail(access.Check("Bearer five", "Studies/Unheard"))->code == "E0673");
}

}  // namespace
}  // namespace rung
