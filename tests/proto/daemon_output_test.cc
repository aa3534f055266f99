#include "proto/daemon_output.h"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

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

TEST_CASE("text of others neither drives the terminal nor shows what it is not") {
  CHECK(OneLine("10%\r20%\n\t\x7F") == "10%\\r20%\\n\t\\x7f");
  CHECK(OneLine("\x9B"
                "31m") == "\\x9b31m");  // C1, as the byte that an 8-bit terminal obeys
  for (const std::string hex : {"009b", "061c", "180e", "200b", "200d", "200f", "2028", "2029", "202a",
                                "202e", "2060", "2066", "2069", "feff"}) {
    INFO(hex);
    const auto character = nlohmann::json::parse("\"\\u" + hex + "\"").get<std::string>();
    CHECK(OneLine("a" + character + "b") == "a\\u" + hex + "b");
  }
  CHECK(OneLine("\xF3\xA0\x81\x81") == "\\U000e0041");
  const std::string plain = "caf\xC3\xA9 \xE4\xB8\xAD \xF0\x9F\x98\x80";
  CHECK(OneLine(plain) == plain);
  // Cut, overlong, a surrogate, above U+10FFFF.
  CHECK(OneLine("caf\xC3") == "caf\\xc3");
  CHECK(OneLine("\xC0\x9B") == "\\xc0\\x9b");
  CHECK(OneLine("\xED\xA0\x80") == "\\xed\\xa0\\x80");
  CHECK(OneLine("\xF4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
}

}  // namespace
}  // namespace rung
