// The parser of `rung`: the tree of commands, and errors that name what was typed and what was probably
// meant.
#include <memory>
#include <regex>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "cli/commands.h"

namespace rung {
namespace {

CLI::App& Deepest(CLI::App& app) {
  CLI::App* current = &app;
  while (!current->get_subcommands().empty()) current = current->get_subcommands().back();
  return *current;
}

std::string Path(const CLI::App& app) {
  std::string path;
  for (const CLI::App* current = &app; current != nullptr; current = current->get_parent()) {
    path = path.empty() ? current->get_name() : current->get_name() + " " + path;
  }
  return path;
}

std::vector<std::string> Subcommands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* current = &app; current != nullptr; current = current->get_parent()) {
    for (const CLI::Option* option : current->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::string HelpHint(const CLI::App& app) {
  return "Type `" + Path(app) + " --help` to see what there is";
}

// "rung study plan", where "rung plan" was typed: the commands below that have this name.
std::vector<std::string> Deeper(const CLI::App& group, const std::string& name) {
  std::vector<std::string> found;
  for (const CLI::App* each : group.get_subcommands([](const CLI::App*) { return true; })) {
    for (const std::string& below : Subcommands(*each)) {
      if (below == name) found.push_back("`" + Path(*each) + " " + name + "`");
    }
  }
  return found;
}

absl::Status UnknownArgument(const CLI::App& command, const std::string& typed) {
  const bool option = typed.rfind('-', 0) == 0;
  const std::string name = typed.substr(0, typed.find('='));
  const std::string close = ClosestName(name, option ? OptionNames(command) : Subcommands(command));
  const bool group = !option && !Subcommands(command).empty();
  const std::string what = option ? "option" : group ? "command" : "argument";
  const std::vector<std::string> deeper = group ? Deeper(command, name) : std::vector<std::string>{};
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {option  ? "E0102"
                    : group ? "E0101"
                            : "E0103",
                    "`" + Path(command) + "` has no " + what + " `" + name + "`" +
                        (group || option ? "" : ": one too many"),
                    "command line", typed,
                    !deeper.empty() ? "Did you mean " + absl::StrJoin(deeper, " or ") + "?"
                    : close.empty() ? HelpHint(command)
                                    : "Did you mean `" + close + "`? " + HelpHint(command)});
}

// The value that CLI11's message complains of; empty where it names none.
std::string ValueIn(const std::string& message) {
  static const std::regex kConversion("^Could not convert: \\S+ = (.*)$");
  static const std::regex kCheck("^\\S+: (?:Value )?(\\S+) (?:not in|must be|is not).*$");
  std::smatch found;
  if (std::regex_match(message, found, kConversion) || std::regex_match(message, found, kCheck))
    return found[1];
  return "";
}

absl::Status UsageError(const CLI::App& command, const CLI::ParseError& error) {
  std::string message = error.what();
  if (const size_t line = message.find('\n'); line != std::string::npos) message.resize(line);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {dynamic_cast<const CLI::RequiredError*>(&error) != nullptr ? "E0104" : "E0105",
       "`" + Path(command) + "`: " + message, "command line", ValueIn(message), HelpHint(command)});
}

CLI::Validator Bound(double low, bool open) {
  const std::string must = absl::StrFormat(" must be %s %g", open ? "above" : "at least", low);
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        const bool fits = absl::SimpleAtod(text, &value) && (open ? value > low : value >= low);
        return fits ? std::string() : "Value " + text + must;
      },
      "");
}

std::string HelpText(const CLI::App& command) {
  const std::string parents = command.get_parent() == nullptr ? "" : Path(*command.get_parent());
  const std::string help = command.help(parents);
  return parents.empty() ? help
                         : help + "\nEvery command takes --dir DIR and -o table|json; see `rung --help`.\n";
}

void AddHelpCommand(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("help", "Show the help of a command");
  command.footer("Example:\n  rung help study best");
  const auto words =
      std::make_shared<std::vector<std::string>>();  // owners: the parser's callback and the action
  command.add_option("COMMAND", *words, "The command, word by word");
  command.callback([&app, &context, words] {
    context.action = [&app, words]() -> absl::StatusOr<int> {
      const CLI::App* current = &app;
      for (const std::string& word : *words) {
        const auto found =
            current->get_subcommands([&word](const CLI::App* each) { return each->get_name() == word; });
        if (found.empty()) return UnknownArgument(*current, word);
        current = found.front();
      }
      PrintText(HelpText(*current));
      return 0;
    };
  });
}

// One command a call: what follows it is its argument, even where another command has that name.
void TakeOneCommand(CLI::App& app) {
  app.require_subcommand(app.get_require_subcommand_min(), 1);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!Subcommands(*command).empty()) TakeOneCommand(*command);
  }
}

}  // namespace

CLI::Validator AtLeast(double low) {
  return Bound(low, false);
}

CLI::Validator Above(double low) {
  return Bound(low, true);
}

void AddAllCommands(CLI::App& app, Context& context) {
  app.fallthrough();
  app.set_version_flag("-V,--version", VersionText());
  app.add_option(
      "--dir", context.dir_flag,
      "State directory (default: $RUNG_DIR, else the nearest .rung of your own in the working directory or "
      "above it, else a new one: `run`, `study create` and `slurm submit` make .rung beside the study file, "
      "`serve` in the working directory)");
  app.add_option_function<std::string>(
         "-o,--output",
         [&context](const std::string& text) {
           context.format = text == "json" ? Format::kJson : Format::kTable;
         },
         "Output: table (for people) or json (stable, for scripts)")
      ->check(CLI::IsMember({"table", "json"}));
  AddRunCommand(app, context);
  AddServeCommand(app, context);
  CLI::App& study = *app.add_subcommand("study", "Studies: plan, make, watch, steer, export");
  AddStudyCreateCommand(study, context);
  AddStudyPlanCommand(study, context);
  AddStudyListCommand(study, context);
  AddStudyShowCommand(study, context);
  AddStudyWatchCommand(study, context);
  AddStudyBestCommand(study, context);
  AddStudyImportanceCommand(study, context);
  AddStudyStateCommands(study, context);
  AddStudyExportCommand(study, context);
  CLI::App& trial = *app.add_subcommand("trial", "Trials of a study: list, look at, explain");
  AddTrialListCommand(trial, context);
  AddTrialShowCommand(trial, context);
  AddTrialLogsCommand(trial, context);
  AddTrialWhyCommand(trial, context);
  AddSpaceCommands(app, context);
  AddReplayCommand(app, context);
  AddEventsCommand(app, context);
  AddBackupCommands(app, context);
  AddTokenCommands(app, context);
  AddModelCommands(app, context);
  AddWorkerCommands(app, context);
  AddSlurmCommands(app, context);
  AddDoctorCommand(app, context);
  AddVersionCommand(app, context);
  AddHelpCommand(app, context);
  TakeOneCommand(app);
}

absl::Status ParseArguments(CLI::App& app, Context& context, int argc, const char* const* argv,
                            std::string* help) {
  // CLI11 is where exceptions come from: they end here.
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App& command = Deepest(app);
    *help = HelpText(command);
    return absl::OkStatus();
  } catch (const CLI::CallForAllHelp&) {
    *help = app.help("", CLI::AppFormatMode::All);
    return absl::OkStatus();
  } catch (const CLI::CallForVersion&) {
    *help = VersionText() + "\n";
    return absl::OkStatus();
  } catch (const CLI::ParseError& error) {
    CLI::App& command = Deepest(app);
    const std::vector<std::string> rest = app.remaining(true);
    if (!rest.empty()) return UnknownArgument(command, rest.front());
    return UsageError(command, error);
  }
  if (context.action) return absl::OkStatus();
  CLI::App& command = Deepest(app);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0104", "`" + Path(command) + "` needs a command: " + absl::StrJoin(Subcommands(command), ", "),
       "command line", "", HelpHint(command)});
}

}  // namespace rung
