#include "base/status.h"

#include <vector>

#include <catch2/catch.hpp>

namespace rung {
namespace {

TEST_CASE("an error keeps its detail and reads as one sentence") {
  const absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument,
                {"E0201", "low = 0 is not allowed with log", "study.json:14:18", "0", "Use 1e-5"});
  CHECK(std::string(status.message()) == "low = 0 is not allowed with log (study.json:14:18). Use 1e-5.");
  const auto detail = GetErrorDetail(status);
  REQUIRE(detail.has_value());
  CHECK(detail->code == "E0201");
  CHECK(detail->mend == "Use 1e-5");
  CHECK(ExitCode(status) == 6);
}

TEST_CASE("usage errors and refused insecure setups have exit codes of their own") {
  CHECK(ExitCode(MakeError(absl::StatusCode::kInvalidArgument, {"E0101", "unknown option", "", "--x", ""})) ==
        2);
  CHECK(ExitCode(MakeError(absl::StatusCode::kFailedPrecondition, {"E0678", "plaintext", "", "", ""})) == 78);
  CHECK(ExitCode(absl::AbortedError("")) == 75);
}

TEST_CASE("a where is added once") {
  const absl::Status bare =
      MakeError(absl::StatusCode::kInvalidArgument, {"E0201", "bad", "", "", "Mend it"});
  const absl::Status placed = WithWhere(bare, "a.csv:3");
  CHECK(GetErrorDetail(placed)->where == "a.csv:3");
  CHECK(GetErrorDetail(WithWhere(placed, "b.csv:9"))->where == "a.csv:3");
}

TEST_CASE("a long text is quoted shortened, between characters") {
  CHECK(Shortened("abc", 3) == "abc");
  CHECK(Shortened("abcd", 3) == "abc...");
  CHECK(Shortened("a\xC3\xA9z", 2) == "a...");
  CHECK(Shortened(std::string(100, 'a')) == std::string(80, 'a') + "...");
}

TEST_CASE("did you mean") {
  const std::vector<std::string> names = {"learning_rate", "weight_decay"};
  CHECK(ClosestName("lerning_rate", names) == "learning_rate");
  CHECK(ClosestName("xyz", names).empty());
}

}  // namespace
}  // namespace rung
