#include "cli/client.h"

#include <catch2/catch.hpp>

#include "base/status.h"

namespace rung {
namespace {

std::vector<v1::StudyStatus> Studies(const std::vector<std::string>& names) {
  std::vector<v1::StudyStatus> studies;
  for (const std::string& name : names) {
    studies.emplace_back().set_name(name);
    studies.back().set_id(static_cast<int64_t>(studies.size()));
  }
  return studies;
}

TEST_CASE("a study is named by its name, by its id, or not at all where it is the only one") {
  CHECK(*ChosenStudy("b", Studies({"a", "b"})) == 2);
  CHECK(*ChosenStudy("1", Studies({"a", "b"})) == 1);
  CHECK(*ChosenStudy("", Studies({"a"})) == 1);
  CHECK(*ChosenStudy("7", Studies({"a", "7"})) == 2);
}

TEST_CASE("a name goes before an id, so that a study can always be named, as scripts do") {
  CHECK(*ChosenStudy("2", Studies({"2", "b"})) == 1);
  CHECK(*ChosenStudy("2", Studies({"2", "1"})) == 1);
  CHECK(*ChosenStudy("1", Studies({"2", "1"})) == 2);
  CHECK(*ChosenStudy("2", Studies({"a", "2"})) == 2);
}

TEST_CASE("no study and several studies are told apart, by exit code and mend") {
  const absl::Status none = ChosenStudy("", {}).status();
  CHECK(ExitCode(none) == 3);
  CHECK_THAT(GetErrorDetail(none)->mend, Catch::Contains("rung study create"));
  const absl::Status several = ChosenStudy("", Studies({"first", "second"})).status();
  CHECK(ExitCode(several) == 2);
  CHECK_THAT(GetErrorDetail(several)->mend, Catch::Contains("first, second"));
  const absl::Status unknown = ChosenStudy("secnd", Studies({"first", "second"})).status();
  CHECK(ExitCode(unknown) == 3);
  CHECK_THAT(GetErrorDetail(unknown)->mend, Catch::Contains("Did you mean `second`?"));
}

}  // namespace
}  // namespace rung
