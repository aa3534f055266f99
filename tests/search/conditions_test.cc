#include "search/conditions.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/status.h"

namespace rung {
namespace {

const Config kConfig = {{"opt", std::string("SGD")},
                        {"lr", 1e-3},
                        {"n", int64_t{8}},
                        {"flag", true},
                        {"model.name", std::string("a/b-c")}};

TEST_CASE("conditions hold or not") {
  const std::pair<const char*, bool> cases[] = {
      {"opt = SGD", true},
      {"opt == \"SGD\"", true},
      {"opt != SGD", false},
      {"opt in (Adam, SGD)", true},
      {"opt in (Adam,AdamW)", false},
      {"not opt in (Adam, AdamW)", true},
      {"lr < 1e-2 and lr >= 1e-3", true},
      {"lr > 1e-3", false},
      {"n = 8.0", true},
      {"n <= 7", false},
      {"flag = true", true},
      {"flag = false or n > 7", true},
      {"opt = Adam or opt = SGD and n = 1", false},
      {"(opt = Adam or opt = SGD) and n = 8", true},
      {"not (opt = SGD and n = 1)", true},
      {"not not n = 8", true},
      {"model.name = a/b-c", true},
      {"model.name = 'a/b-c'", true},
      // Absent parameters make nothing true, their negation included.
      {"gone = 1", false},
      {"not gone = 1", false},
      {"gone = 1 or n = 8", true},
      {"gone = 1 and n = 8", false},
      {"not (gone = 1 and n = 1)", true},
  };
  for (const auto& [text, expected] : cases) {
    INFO(text);
    const absl::StatusOr<Condition> condition = Condition::Parse(text);
    REQUIRE(condition.ok());
    CHECK(condition->Holds(kConfig) == expected);
  }
}

TEST_CASE("a condition knows its parameters") {
  const Condition condition = *Condition::Parse("a = 1 and not (b in (x, y) or a > 2)");
  CHECK(condition.parameters() == std::set<std::string>{"a", "b"});
}

TEST_CASE("broken conditions name the column") {
  const std::pair<std::string, const char*> cases[] = {
      {"", "column 1"},
      {"opt", "column 4"},
      {"opt = ", "column 7"},
      {"opt = SGD and", "column 14"},
      {"opt in SGD", "column 8"},
      {"(opt = SGD", "column 11"},
      {"opt ! SGD", "column 5"},
      {"opt = \"SGD", "column 7"},
      {"opt = SGD)", "column 10"},
      {"= 3", "column 1"},
      {"opt in (a b)", "column 11"},
      {"a = 1 b = 2", "column 7"},
  };
  for (const auto& [text, column] : cases) {
    INFO(text);
    const absl::Status status = Condition::Parse(text).status();
    REQUIRE_FALSE(status.ok());
    CHECK(GetErrorDetail(status)->code == "E0220");
    CHECK(std::string(status.message()).find(column) != std::string::npos);
  }
  CHECK_FALSE(Condition::Parse(std::string(1000, '(') + "a = 1").ok());
  std::string nots;
  for (int i = 0; i < 1000; ++i) nots += "not ";
  CHECK_FALSE(Condition::Parse(nots + "a = 1").ok());
}

}  // namespace
}  // namespace rung
