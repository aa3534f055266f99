#include <vector>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "cli/commands.h"

namespace rung {
namespace {

struct Parsed {
  absl::Status status;
  std::string help;
  Format format = Format::kTable;
  std::string dir;
  bool has_action = false;

  std::string code() const {
    const auto detail = GetErrorDetail(status);
    return detail.has_value() ? detail->code : "";
  }
  std::string mend() const {
    const auto detail = GetErrorDetail(status);
    return detail.has_value() ? detail->mend : "";
  }
};

Parsed Parse(std::vector<const char*> arguments) {
  SystemClock clock;
  Context context{clock, Terminal{}, "", Format::kTable, {}};
  CLI::App app("test", "rung");
  AddAllCommands(app, context);
  arguments.insert(arguments.begin(), "rung");
  Parsed parsed;
  parsed.status =
      ParseArguments(app, context, static_cast<int>(arguments.size()), arguments.data(), &parsed.help);
  parsed.format = context.format;
  parsed.dir = context.dir_flag;
  parsed.has_action = static_cast<bool>(context.action);
  return parsed;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("every command has help with an example") {
  const std::vector<std::vector<const char*>> commands = {{"run"},
                                                          {"serve"},
                                                          {"study", "create"},
                                                          {"study", "plan"},
                                                          {"study", "list"},
                                                          {"study", "show"},
                                                          {"study", "watch"},
                                                          {"study", "best"},
                                                          {"study", "pause"},
                                                          {"study", "resume"},
                                                          {"study", "stop"},
                                                          {"study", "export"},
                                                          {"trial", "list"},
                                                          {"trial", "show"},
                                                          {"trial", "logs"},
                                                          {"trial", "why"},
                                                          {"worker", "start"},
                                                          {"worker", "list"},
                                                          {"slurm", "submit"},
                                                          {"slurm", "scale"},
                                                          {"slurm", "status"},
                                                          {"slurm", "cancel"},
                                                          {"slurm", "doctor"},
                                                          {"doctor"},
                                                          {"version"}};
  for (std::vector<const char*> command : commands) {
    command.push_back("--help");
    const Parsed parsed = Parse(command);
    CAPTURE(command.front(), parsed.help);
    REQUIRE(parsed.status.ok());
    REQUIRE(Has(parsed.help, "Example"));
    REQUIRE_FALSE(parsed.has_action);
  }
}

TEST_CASE("global options stand before or after the command") {
  REQUIRE(Parse({"-o", "json", "study", "list"}).format == Format::kJson);
  REQUIRE(Parse({"study", "list", "-o", "json"}).format == Format::kJson);
  REQUIRE(Parse({"study", "list", "--dir", "/x"}).dir == "/x");
}

TEST_CASE("a command that does not exist is named, with what was probably meant") {
  const Parsed top = Parse({"stdy", "list"});
  REQUIRE(top.code() == "E0101");
  REQUIRE(ExitCode(top.status) == 2);
  REQUIRE(Has(top.mend(), "`study`"));
  const Parsed nested = Parse({"study", "lst"});
  REQUIRE(nested.code() == "E0101");
  REQUIRE(Has(nested.mend(), "`list`"));
}

TEST_CASE("an option that does not exist is named, with what was probably meant") {
  const Parsed parsed = Parse({"run", "x.json", "--worker", "2"});
  REQUIRE(parsed.code() == "E0102");
  REQUIRE(Has(parsed.mend(), "`--workers`"));
  REQUIRE(Parse({"run", "x.json", "--nonsense"}).code() == "E0102");
}

TEST_CASE("missing and impossible arguments are usage errors") {
  REQUIRE(Parse({"run"}).code() == "E0104");
  REQUIRE(Parse({"study"}).code() == "E0104");
  REQUIRE(Parse({"run", "x.json", "--workers", "zero"}).code() == "E0105");
  REQUIRE(Parse({"run", "x.json", "--workers", "0"}).code() == "E0105");
  REQUIRE(Parse({"study", "list", "-o", "xml"}).code() == "E0105");
  REQUIRE(Parse({"study", "show", "one", "two"}).code() == "E0103");
  for (const auto& parsed : {Parse({"run"}), Parse({"study", "list", "-o", "xml"})}) {
    REQUIRE(ExitCode(parsed.status) == 2);
    REQUIRE_FALSE(parsed.mend().empty());
  }
}

TEST_CASE("a study may have the name of a command") {
  for (const char* name : {"export", "list", "study", "run"}) {
    CAPTURE(name);
    REQUIRE(Parse({"study", "best", name}).status.ok());
    REQUIRE(Parse({"study", "show", name}).status.ok());
    REQUIRE(Parse({"trial", "list", name}).status.ok());
  }
  REQUIRE(Parse({"study", "list", "show"}).code() == "E0103");
}

}  // namespace
}  // namespace rung
