// The commands of `rung`: each has one file with one function that adds it to the parser. A command that was
// typed leaves its work in Context::action; main() runs it and turns its status into an exit code.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/status.h"
#include "cli/output.h"

namespace rung {

// What every command sees. Lives in main(), outlives the parser. Not thread-safe.
struct Context {
  Clock& clock;
  Terminal terminal;
  std::string dir_flag;  // --dir, or empty
  Format format = Format::kTable;
  // The typed command: its exit code (0, 9, 130 ...) or an error whose exit code is ExitCode(status).
  std::function<absl::StatusOr<int>()> action;

  // " --dir DIR" as it was typed, for the next command that is proposed; or empty.
  std::string DirOption() const { return dir_flag.empty() ? "" : " --dir " + dir_flag; }
};

void AddRunCommand(CLI::App& app, Context& context);
void AddServeCommand(CLI::App& app, Context& context);
void AddReplayCommand(CLI::App& app, Context& context);
void AddEventsCommand(CLI::App& app, Context& context);
void AddBackupCommands(CLI::App& app, Context& context);  // create, verify, restore
void AddTokenCommands(CLI::App& app, Context& context);   // rotate
void AddDoctorCommand(CLI::App& app, Context& context);
void AddVersionCommand(CLI::App& app, Context& context);
void AddWorkerCommands(CLI::App& app, Context& context);
void AddSlurmCommands(CLI::App& app, Context& context);
void AddSpaceCommands(CLI::App& app, Context& context);  // convert, sample, check
void AddModelCommands(CLI::App& app, Context& context);

// `rung study ...`
void AddStudyCreateCommand(CLI::App& study, Context& context);
void AddStudyPlanCommand(CLI::App& study, Context& context);
void AddStudyListCommand(CLI::App& study, Context& context);
void AddStudyShowCommand(CLI::App& study, Context& context);
void AddStudyWatchCommand(CLI::App& study, Context& context);
void AddStudyBestCommand(CLI::App& study, Context& context);
void AddStudyImportanceCommand(CLI::App& study, Context& context);
void AddStudyStateCommands(CLI::App& study, Context& context);  // pause, resume, stop
void AddStudyExportCommand(CLI::App& study, Context& context);

// `rung trial ...`
void AddTrialListCommand(CLI::App& trial, Context& context);
void AddTrialShowCommand(CLI::App& trial, Context& context);
void AddTrialLogsCommand(CLI::App& trial, Context& context);
void AddTrialWhyCommand(CLI::App& trial, Context& context);

// Bounds of a number. CLI11's own PositiveNumber prints the largest double as the upper one.
CLI::Validator AtLeast(double low);
CLI::Validator Above(double low);

// "rung 0.1.0 (protocol 1)"
std::string VersionText();

// The whole parser, without anything typed yet.
void AddAllCommands(CLI::App& app, Context& context);
// Parses and reports what is wrong with the arguments as an error of E01xx (exit 2) with a "did you mean"; OK
// with context.action set, or with *help filled where help was asked for.
absl::Status ParseArguments(CLI::App& app, Context& context, int argc, const char* const* argv,
                            std::string* help);

}  // namespace rung
