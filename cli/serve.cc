// rung serve: becomes rungd for a state directory, until it is told to end.
#include <stdlib.h>

#include <memory>

#include "base/file.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"

namespace rung {
namespace {

struct Options {
  std::string listen;
  std::string advertise;
  std::string lease_ttl;
  std::string metrics;
  bool exit_when_done = false;
};

absl::StatusOr<int> Serve(Context& context, const Options& options) {
  // Beside no study file: a directory is made where the person stands.
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, StateDirFor(context.dir_flag, "study.json"));
  std::vector<std::string> argv = {BesideThisProgram("rungd"), "--dir", dir.root};
  const auto add = [&argv](const std::string& name, const std::string& value) {
    if (!value.empty()) argv.insert(argv.end(), {name, value});
  };
  add("--listen", options.listen);
  add("--advertise", options.advertise);
  add("--lease-ttl", options.lease_ttl);
  add("--metrics", options.metrics);
  if (options.exit_when_done) argv.push_back("--exit-when-done");
  if (context.format == Format::kJson) setenv(kErrorFormatVariable, "json", 1);
  return Exec(argv);
}

}  // namespace

void AddServeCommand(CLI::App& app, Context& context) {
  CLI::App& command =
      *app.add_subcommand("serve", "Run the coordinator of a state directory in the foreground");
  command.footer("Example:\n  rung serve --dir /scratch/me/.rung --listen auto");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("--listen", options->listen,
                     "Also listen on TCP with TLS: HOST:PORT or auto (default: Unix socket only)");
  command.add_option("--advertise", options->advertise,
                     "Name under which workers on other hosts reach this one");
  command.add_option("--lease-ttl", options->lease_ttl, "How long a silent worker keeps its lease: 1s to 1h");
  command.add_option("--metrics", options->metrics,
                     "Also serve /metrics (with a viewer's token) and /healthz on this host: PORT, "
                     "127.0.0.1:PORT or auto");
  command.add_flag("--exit-when-done", options->exit_when_done, "End when every study is finished");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Serve(context, *options); }; });
}

}  // namespace rung
