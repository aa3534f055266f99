// rung space convert|sample|check FILE: a space on its own, Rung's or ConfigSpace's. No coordinator is
// needed.
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/study_file.h"
#include "search/configspace.h"
#include "search/json_position.h"
#include "search/space.h"

namespace rung {
namespace {

constexpr int64_t kConfigsLimit_bytes = 64 << 20;

struct Options {
  std::string file;
  std::string to = "configspace";
  std::string configs;
  int count = 10;
  uint64_t seed = 0;
};

absl::StatusOr<Space> ReadSpace(const std::string& path) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kStudyFileLimit_bytes));
  RUNG_RETURN_IF_ERROR(CheckNotUtf16(text, path));
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonText(text, path, kStudyFileLimit_bytes));
  absl::StatusOr<Space> space = Space::Parse(json);
  if (!space.ok()) return Located(space.status(), text, path);
  return space;
}

absl::StatusOr<int> Convert(const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const Space space, ReadSpace(options.file));
  if (options.to == "rung") {
    PrintText(space.ToJson().dump(2) + "\n");
    return 0;
  }
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json json, ToConfigSpace(space));
  PrintText(json.dump(2) + "\n");
  return 0;
}

absl::StatusOr<int> Sample(const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const Space space, ReadSpace(options.file));
  Rng rng(options.seed, 1);
  std::string lines;
  for (int i = 0; i < options.count; ++i) lines += CanonicalJson(space.Sample(rng)) + "\n";
  PrintText(lines);
  return 0;
}

absl::StatusOr<int> Check(const Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const Space space, ReadSpace(options.file));
  int64_t checked = 0;
  if (!options.configs.empty()) {
    RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.configs, kConfigsLimit_bytes));
    int64_t line = 0;
    const std::vector<std::string> rows = absl::StrSplit(text, '\n');
    for (const std::string& row : rows) {
      ++line;
      if (row.empty()) continue;
      const std::string where = absl::StrFormat("%s:%d", options.configs, line);
      RUNG_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonText(row, where, kStudyFileLimit_bytes));
      absl::StatusOr<Config> config = ConfigFromJson(json);
      if (!config.ok()) return Located(config.status(), row, where);
      const absl::Status valid = space.Validate(space.Typed(*std::move(config)));
      if (!valid.ok()) return Located(valid, row, where);
      ++checked;
    }
  }
  if (context.format == Format::kJson) {
    nlohmann::ordered_json json = {{"schema", 1},
                                   {"parameters", space.parameters().size()},
                                   {"dimension", space.Dimension()},
                                   {"forbidden", space.forbidden().size()},
                                   {"configs", checked}};
    PrintJson(json);
    return 0;
  }
  PrintText(absl::StrFormat("%s, %d of them with more than one value, %s\n",
                            Counted(static_cast<int64_t>(space.parameters().size()), "parameter"),
                            space.Dimension(),
                            Counted(static_cast<int64_t>(space.forbidden().size()), "forbidden clause")));
  if (!options.configs.empty())
    PrintText(Counted(checked, "config") + (checked == 1 ? " is legal\n" : " are legal\n"));
  return 0;
}

}  // namespace

void AddSpaceCommands(CLI::App& app, Context& context) {
  CLI::App& group = *app.add_subcommand("space", "Search spaces: convert, draw from, check");
  group.require_subcommand(1);
  const auto options = std::make_shared<Options>();  // owners: the parser's callbacks and the actions
  const auto add = [&](const char* name, const char* what, auto run) -> CLI::App& {
    CLI::App& command = *group.add_subcommand(name, what);
    command.add_option("FILE", options->file, "Space file (JSON), Rung's or ConfigSpace's")->required();
    command.callback([&context, options, run] { context.action = [options, run] { return run(*options); }; });
    return command;
  };
  CLI::App& convert = add("convert", "Write a space in the other format", Convert);
  convert.add_option("--to", options->to, "configspace (default) or rung")
      ->check(CLI::IsMember({"configspace", "rung"}));
  convert.footer("Example:\n  rung space convert space.json --to configspace > configspace.json");
  CLI::App& sample = add("sample", "Draw configs, one JSON object a line", Sample);
  sample.add_option("--count", options->count, "How many (default 10)")->check(CLI::Range(1, 1000000));
  sample.add_option("--seed", options->seed, "Of the draws (default 0)");
  sample.footer("Example:\n  rung space sample space.json --count 100");
  CLI::App& check = add("check", "Check a space, and configs against it",
                        [&context](const Options& chosen) { return Check(context, chosen); });
  check.add_option("CONFIGS", options->configs, "Configs to check, one JSON object a line");
  check.footer("Example:\n  rung space check space.json configs.jsonl");
}

}  // namespace rung
