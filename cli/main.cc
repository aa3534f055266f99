// rung: everything a person types.
#include <csignal>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"

namespace rung {
namespace {

// A script that asked for JSON gets its errors as JSON, also where the arguments themselves are wrong.
Format WantedFormat(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool next =
        (argument == "-o" || argument == "--output") && i + 1 < argc && std::string(argv[i + 1]) == "json";
    if (next || argument == "-ojson" || argument == "--output=json" || argument == "-o=json")
      return Format::kJson;
  }
  return Format::kTable;
}

int Fail(const absl::Status& status, Context& context) {
  const auto detail = GetErrorDetail(status);
  if (detail.has_value() && detail->code == "E0691") {
    // Nobody answers: what the coordinator wrote last is better than nothing.
    if (const auto dir = FindStateDir(context.dir_flag); dir.has_value()) {
      PrintText(LastKnownStatus(*dir, context.format == Format::kJson, context.clock.Now()));
    }
  }
  PrintError(status, context.format);
  return ExitCode(status);
}

int Main(int argc, char** argv) {
  SilenceGrpc();
  std::signal(SIGPIPE, SIG_IGN);  // `rung trial list | head` ends by a failed write, not by a signal
  SystemClock clock;
  Context context{clock, FindTerminal(), "", WantedFormat(argc, argv), {}};
  CLI::App app("Rung: hyper-parameter search for LibTorch models on your machine or your Slurm cluster",
               "rung");
  app.footer("Example:\n  rung run examples/spam/study.json --workers 2");
  AddAllCommands(app, context);
  if (argc == 1) {
    PrintText(app.help());
    return 2;
  }
  std::string help;
  if (const absl::Status status = ParseArguments(app, context, argc, argv, &help); !status.ok())
    return Fail(status, context);
  if (!help.empty()) {
    PrintText(help);
    return 0;
  }
  const absl::StatusOr<int> exit_code = context.action();
  if (!exit_code.ok()) return Fail(exit_code.status(), context);
  if (const absl::Status printed = CheckPrinted(); !printed.ok() && *exit_code == 0)
    return Fail(printed, context);
  return *exit_code;
}

}  // namespace
}  // namespace rung

int main(int argc, char** argv) {
  return rung::Main(argc, argv);
}
