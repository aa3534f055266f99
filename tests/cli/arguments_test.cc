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

// The words of every command that has no commands of its own.
void AddLeaves(const CLI::App& app, const std::vector<std::string>& words,
               std::vector<std::vector<std::string>>& leaves) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) leaves.push_back(words);
  for (const CLI::App* command : commands) {
    std::vector<std::string> longer = words;
    longer.push_back(command->get_name());
    AddLeaves(*command, longer, leaves);
  }
}

TEST_CASE("every command has help with an example") {
  SystemClock clock;
  Context context{clock, Terminal{}, "", Format::kTable, {}};
  CLI::App app("test", "rung");
  AddAllCommands(app, context);
  std::vector<std::vector<std::string>> leaves;
  AddLeaves(app, {}, leaves);
  REQUIRE(leaves.size() > 25);
  for (const std::vector<std::string>& words : leaves) {
    std::vector<const char*> arguments;
    std::string typed = "\n  rung";
    for (const std::string& word : words) {
      arguments.push_back(word.c_str());
      typed += " " + word;
    }
    arguments.push_back("--help");
    const Parsed parsed = Parse(arguments);
    CAPTURE(words, parsed.help);
    REQUIRE(parsed.status.ok());
    REQUIRE(Has(parsed.help, "Example:\n  rung "));
    REQUIRE(Has(parsed.help, typed));
    REQUIRE_FALSE(parsed.has_action);
  }
}

TEST_CASE("the version is asked for in the usual ways") {
  REQUIRE(Has(Parse({"--version"}).help, "rung "));
  REQUIRE(Parse({"-V"}).help == Parse({"--version"}).help);
  REQUIRE(Parse({"help"}).has_action);
  REQUIRE(Parse({"help", "study", "best"}).has_action);
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
  REQUIRE(Has(Parse({"plan"}).mend(), "`rung study plan`"));
  const std::string several = Parse({"list"}).mend();
  REQUIRE(Has(several, "`rung study list`"));
  REQUIRE(Has(several, "`rung worker list`"));
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

TEST_CASE("an impossible value is named with its bound") {
  const auto detail = [](const std::vector<const char*>& arguments) {
    return GetErrorDetail(Parse(arguments).status).value_or(ErrorDetail{});
  };
  const ErrorDetail rung = detail({"trial", "list", "--rung", "-1"});
  CHECK(rung.value == "-1");
  CHECK(Has(rung.message, "must be at least 0"));
  CHECK(Has(detail({"study", "best", "--top", "0"}).message, "must be at least 1"));
  CHECK(Has(detail({"study", "plan", "x", "--unit-seconds", "0"}).message, "must be above 0"));
  CHECK(detail({"run", "x.json", "--workers", "0"}).value == "0");
  CHECK(detail({"run", "x.json", "--workers", "zero"}).value == "zero");
  CHECK(detail({"study", "list", "-o", "xml"}).value == "xml");
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
