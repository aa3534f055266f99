#include "cli/output.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "base/status.h"

namespace rung {
namespace {

using Json = nlohmann::ordered_json;

absl::Status SomeError() {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0210", "low is above high", "study.json:3:9", "7", "Swap them"});
}

TEST_CASE("text of others is shown with its controls as escapes") {
  REQUIRE(Printable("a\x1b[31mb\x07") == "a\\x1b[31mb\\x07");
  REQUIRE(Printable("\xC2\x9B"
                    "31m") == "\\u009b31m");  // C1 CSI in UTF-8
  REQUIRE(Printable("\x9B"
                    "31m") == "\\x9b31m");  // and as the byte that an 8-bit terminal obeys
  REQUIRE(Printable("caf\xC3\xA9\tx") == "caf\xC3\xA9\tx");
  REQUIRE(Printable("\x7F") == "\\x7f");
  REQUIRE(Printable("10%\r20%") == "10%\\r20%");  // a line that hides the one before
  REQUIRE(Printable("done\nerror E0100: forged") == "done\\nerror E0100: forged");
  REQUIRE(Printable("\xE2\x80\xAE"
                    "txt") == "\\u202etxt");  // right to left from here
  REQUIRE(Printable("caf\xC3") == "caf\\xc3");
  REQUIRE(PrintableLines("a\x1b\nb\n") == "a\\x1b\nb\n");
}

TEST_CASE("tables align by characters and have no trailing blanks") {
  Table table({"name", "n"});
  table.AddRow({"\xC3\xA9", "1"});
  table.AddRow({"longer", "22"});
  REQUIRE(table.Text(Terminal{}) == "name    n\n\xC3\xA9       1\nlonger  22\n");
}

TEST_CASE("tables are safe everywhere and bold on a terminal only") {
  Table table({"h\x1b["});
  table.AddRow({"\x1b]0;title"});
  REQUIRE(table.Text(Terminal{}) == "h\\x1b[\n\\x1b]0;title\n");
  const Terminal tty{true, true, true, 80};
  REQUIRE(table.Text(tty) == "\x1b[1mh\\x1b[\x1b[0m\n\\x1b]0;title\n");
}

TEST_CASE("durations read well") {
  REQUIRE(DurationText(absl::Milliseconds(4500)) == "4.5 s");
  REQUIRE(DurationText(absl::Seconds(59)) == "59 s");
  REQUIRE(DurationText(absl::Seconds(192)) == "3 min 12 s");
  REQUIRE(DurationText(absl::Minutes(125)) == "2 h 05 min");
  REQUIRE(BytesText(1300) == "0.0013 MB");
  REQUIRE(BytesText(90868376) == "91 MB");
  REQUIRE(BytesText(1300000000) == "1.3 GB");
}

TEST_CASE("JSON times are UTC with milliseconds, unknown ones null") {
  REQUIRE(JsonTime(1700000000123) == "2023-11-14T22:13:20.123Z");
  REQUIRE(JsonTime(0).is_null());
}

TEST_CASE("non-finite numbers are null in JSON") {
  REQUIRE(JsonNumber(0.5) == 0.5);
  REQUIRE(JsonNumber(std::nan("")).is_null());
  REQUIRE(JsonNumber(std::numeric_limits<double>::infinity()).is_null());
}

TEST_CASE("an error for people names code, place, value and mend") {
  REQUIRE(ErrorText(SomeError(), Format::kTable) ==
          "error E0210: low is above high\n  where: study.json:3:9\n  value: 7\n  mend:  Swap them\n");
}

TEST_CASE("an error for scripts is one JSON object") {
  const Json json = Json::parse(ErrorText(SomeError(), Format::kJson));
  REQUIRE(json["error"]["code"] == "E0210");
  REQUIRE(json["error"]["message"] == "low is above high");
  REQUIRE(json["error"]["where"] == "study.json:3:9");
  REQUIRE(json["error"]["value"] == "7");
  REQUIRE(json["error"]["mend"] == "Swap them");
}

TEST_CASE("an error's value cannot drive the terminal") {
  const absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument, {"E0210", "bad", "", "\x1b[2J", "Mend"});
  const std::string text = ErrorText(status, Format::kTable);
  REQUIRE(text.find('\x1b') == std::string::npos);
  REQUIRE(text.find("\\x1b[2J") != std::string::npos);
}

}  // namespace
}  // namespace rung
