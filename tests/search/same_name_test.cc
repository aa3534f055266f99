#include "search/same_name.h"

#include <catch2/catch.hpp>

#include "base/status.h"

namespace rung {
namespace {

ErrorDetail Taken(const std::string& stored, const std::string& wanted) {
  const absl::Status status = NameTaken("spam", "study.json", stored, wanted);
  CHECK(ExitCode(status) == 5);
  return GetErrorDetail(status).value_or(ErrorDetail{});
}

TEST_CASE("a name that is taken is answered with what differs, and with the ways that are open") {
  const ErrorDetail other = Taken(R"({"budget":{"max":9},"seed":1})", R"({"budget":{"max":27},"seed":1})");
  CHECK(other.code == "E0623");
  CHECK(other.where == "study.json");
  CHECK(other.value == "spam");
  CHECK(other.message == "there is another study spam already: /budget/max: 9 -> 27");
  for (const char* way : {"another \"name\"", "--dir", "undo the changes"})
    CHECK_THAT(other.mend, Catch::Contains(way));
  const ErrorDetail same = Taken(R"({"seed":1})", R"({"seed":1})");
  CHECK(same.message == "there is a study spam already");
  for (const char* way : {"rung run STUDY.json", "another \"name\"", "--dir"})
    CHECK_THAT(same.mend, Catch::Contains(way));
}

TEST_CASE("of many differences the first five are named") {
  const std::string message = Taken(R"({"a":[1,1,1,1,1,1,1]})", R"({"a":[2,2,2,2,2,2,2]})").message;
  CHECK_THAT(message, Catch::Contains("/a/4: 1 -> 2; and 2 more"));
}

}  // namespace
}  // namespace rung
