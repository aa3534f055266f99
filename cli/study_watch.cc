// rung study watch S: live progress of a study that runs elsewhere. Ctrl-C ends the watching, never the
// study.
#include <signal.h>

#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/views.h"

namespace rung {
namespace {

constexpr absl::Duration kWait = absl::Milliseconds(500);  // so that Ctrl-C is heard soon
constexpr absl::Duration kOutagePatience = absl::Minutes(10);
constexpr absl::Duration kHindranceEvery = absl::Seconds(5);

void ShowLine(Context& context, const v1::StudyStatus& status, const StudySpec& spec,
              const std::string& hindrance) {
  if (context.format == Format::kTable) {
    PrintText(ProgressLine(status, spec, hindrance) + "\n");
    return;
  }
  OrderedJson json = JsonDocument();  // one object a line: a stream for scripts
  json.update(StudyJson(status));
  PrintText(json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

absl::StatusOr<int> Watch(Context& context, const std::string& name) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  Signals signals({SIGINT, SIGTERM});
  const bool tty = context.terminal.out_is_tty && context.format == Format::kTable;
  LiveBlock live(tty ? context.terminal : Terminal{});
  // Printed below the lines, a note would leave a part of them above the next ones: it takes their place.
  const auto clear = [&live] { live.Clear(); };
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock, clear));
  RUNG_ASSIGN_OR_RETURN(v1::StudyStatus status, client.FindStudy(name));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(status));
  LinePace pace(context.clock);
  absl::Duration heard = context.clock.Steady();
  std::string hindrance;
  absl::Duration next_look = absl::ZeroDuration();
  bool told = false;
  while (true) {
    if (context.clock.Steady() >= next_look) {
      hindrance = FindHindrance(client, status).value_or("");
      next_look = context.clock.Steady() + kHindranceEvery;
      if (hindrance == kNoWorkers && !std::exchange(told, true)) {
        live.Clear();
        PrintNote(kNoWorkersMend);
      }
    }
    if (tty) {
      live.Draw(ProgressLines(status, spec, FindTerminal().width, hindrance));
    } else if (pace.Due() || IsOver(status)) {
      ShowLine(context, status, spec, hindrance);
    }
    if (IsOver(status)) return 0;
    if (signals.Wait(absl::ZeroDuration()).has_value()) {
      live.Leave();
      PrintNote("the study goes on; watch it again with `rung study watch " + Printable(status.name()) +
                context.DirOption() + "`");
      return 130;
    }
    // A coordinator that is being restarted, perhaps in a job that was queued again, is waited for.
    absl::StatusOr<v1::StudyStatus> next = client.GetStudy(status.id(), status.version(), kWait);
    if (next.ok()) {
      status = *std::move(next);
      heard = context.clock.Steady();
    } else if (!MayPass(next.status()) || context.clock.Steady() - heard > kOutagePatience) {
      return next.status();
    }
  }
}

}  // namespace

void AddStudyWatchCommand(CLI::App& study, Context& context) {
  CLI::App& command =
      *study.add_subcommand("watch", "Watch a study until it is done; Ctrl-C never stops the study");
  command.footer("Example:\n  rung study watch gnad10");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("STUDY", *name, "Name or id (may be left out if there is one study)");
  command.callback([&context, name] { context.action = [&context, name] { return Watch(context, *name); }; });
}

}  // namespace rung
