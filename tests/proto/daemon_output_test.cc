#include "proto/daemon_output.h"

#include <catch2/catch.hpp>

#include "base/status.h"

namespace rung {
namespace {

TEST_CASE("a daemon's error looks as one of rung's, for people and for scripts") {
  const absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument,
                {"E0130", "x\x1b[2J is not a device", "--device", "x\ny", "Use auto"});
  CHECK(DaemonErrorText(status, false) ==
        "error E0130: x\\x1b[2J is not a device\n  where: --device\n  value: x\\ny\n  mend:  Use auto\n");
  CHECK(
      DaemonErrorText(status, true) ==
      R"({"error":{"code":"E0130","message":"x\u001b[2J is not a device","where":"--device","value":"x\ny","mend":"Use auto"}})"
      "\n");
}

}  // namespace
}  // namespace rung
