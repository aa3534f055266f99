// rung worker start | list | drain | evict.
#include <stdlib.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

struct StartOptions {
  std::string slot;
  std::string device;
  std::string idle_exit;
  bool exit_when_done = false;
};

absl::StatusOr<int> Start(Context& context, const StartOptions& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  std::vector<std::string> argv = {BesideThisProgram("rung-worker"), "--dir", dir.root};
  const auto add = [&argv](const std::string& name, const std::string& value) {
    if (!value.empty()) argv.insert(argv.end(), {name, value});
  };
  add("--slot", options.slot);
  add("--device", options.device);
  add("--idle-exit", options.idle_exit);
  if (options.exit_when_done) argv.push_back("--exit-when-done");
  if (context.format == Format::kJson) setenv(kErrorFormatVariable, "json", 1);
  return Exec(argv);
}

std::string DoesText(const v1::WorkerRow& worker) {
  if (!worker.message().empty()) return Printable(worker.message());
  if (!worker.has_attempt() || worker.attempt().trial() == 0) return "-";
  return absl::StrFormat("trial %d/%d rung %d attempt %d", worker.attempt().study(), worker.attempt().trial(),
                         worker.attempt().rung(), worker.attempt().attempt());
}

std::string JobEndsText(const v1::WorkerRow& worker) {
  if (worker.job_seconds_left() <= 0 || worker.state() == "gone") return "-";
  return "in " + DurationText(absl::Seconds(worker.job_seconds_left()));
}

absl::StatusOr<int> List(Context& context) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::WorkerRow> workers, client.ListWorkers());
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["workers"] = OrderedJson::array();
    for (const auto& worker : workers) json["workers"].push_back(WorkerJson(worker));
    PrintJson(json);
    return 0;
  }
  Table table({"worker", "state", "device", "pid", "seen", "done", "job ends", "does"});
  for (const auto& worker : workers) {
    table.AddRow({worker.name(), worker.state(), worker.device(), std::to_string(worker.process().pid()),
                  DurationText(absl::Seconds(worker.seen_seconds_ago())) + " ago",
                  std::to_string(worker.attempts_done()), JobEndsText(worker), DoesText(worker)});
  }
  if (table.empty())
    PrintNote(
        "no workers: `rung run FILE` starts its own, `rung worker start` one for all studies of the "
        "directory");
  PrintText(table.Text(context.terminal));
  return 0;
}

absl::StatusOr<int> End(Context& context, const std::string& name, bool evict) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kWrite, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::EndWorkerResponse answer, client.EndWorker(name, evict));
  v1::WorkerRow row;
  *row.mutable_attempt() = answer.attempt();
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["worker"] = name;
    const OrderedJson held = WorkerJson(row);  // null where it held nothing
    for (const char* key : {"study", "trial", "rung", "replicate", "attempt"}) json[key] = held[key];
    PrintJson(json);
  } else if (!answer.has_attempt()) {
    PrintText(Printable(name) + " gets no more work\n");
  } else {
    PrintText(Printable(name) + (evict ? " has lost " : " leaves when it has checkpointed ") + DoesText(row) +
              "\n");
  }
  return 0;
}

void AddEnd(CLI::App& worker, Context& context, const std::string& verb, const std::string& help) {
  CLI::App& command = *worker.add_subcommand(verb, help);
  command.footer("Example:\n  rung worker " + verb + " node7-gpu-0");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("NAME", *name, "As `rung worker list` shows it")->required();
  command.callback([&context, name, evict = verb == "evict"] {
    context.action = [&context, name, evict] { return End(context, *name, evict); };
  });
}

}  // namespace

void AddWorkerCommands(CLI::App& app, Context& context) {
  CLI::App& worker = *app.add_subcommand("worker", "Workers: start one, list them, let one go");
  CLI::App& start = *worker.add_subcommand("start", "Be a worker of the state directory, in the foreground");
  start.footer("Example:\n  rung worker start --dir /scratch/me/.rung --slot gpu-0");
  const auto options = std::make_shared<StartOptions>();  // owners: the parser's callback and the action
  start.add_option("--slot", options->slot, "Stable name of this worker on its host (default: 0)");
  start.add_option("--device", options->device, "auto, cpu or cuda:N (default: auto)");
  start.add_option("--idle-exit", options->idle_exit, "End after this long without work, e.g. 10m");
  start.add_flag("--exit-when-done", options->exit_when_done, "End when every study is finished");
  start.callback(
      [&context, options] { context.action = [&context, options] { return Start(context, *options); }; });
  CLI::App& list = *worker.add_subcommand("list", "List the workers and what they do");
  list.footer("Example:\n  rung worker list");
  list.callback([&context] { context.action = [&context] { return List(context); }; });
  AddEnd(worker, context, "drain", "Let a worker checkpoint, hand its attempt back and end");
  AddEnd(worker, context, "evict", "Take a worker's attempt away at once; blames no config");
}

}  // namespace rung
