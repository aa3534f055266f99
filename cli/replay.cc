// rung replay STUDY: derives every decision again from the study's file, seed and log.
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"
#include "search/replay.h"

namespace rung {
namespace {

constexpr int kFindings = 9;

OrderedJson Parsed(const std::string& text) {
  return text.empty() ? OrderedJson() : OrderedJson::parse(text, nullptr, false);
}

void Show(const Context& context, const v1::StudyStatus& study, const ReplayReport& report) {
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = study.id();
    json["name"] = study.name();
    json["events"] = report.events;
    json["decisions"] = report.decisions;
    json["proposals"] = report.proposals;
    json["differences"] = OrderedJson::array();
    for (const ReplayDifference& difference : report.differences) {
      json["differences"].push_back({{"seq", difference.seq},
                                     {"stored", Parsed(difference.stored)},
                                     {"derived", Parsed(difference.derived)}});
    }
    PrintJson(json);
    return;
  }
  PrintText(absl::StrFormat(
      "%s: %s, %s derived again, %d of them proposals: %s\n", Printable(study.name()),
      Counted(report.events, "event"), Counted(report.decisions, "decision"), report.proposals,
      report.differences.empty() ? "no difference"
                                 : Counted(static_cast<int64_t>(report.differences.size()), "difference")));
  for (const ReplayDifference& difference : report.differences) {
    PrintText(Printable(absl::StrFormat("event %d\n", difference.seq)));
    PrintText("  stored   " + Printable(difference.stored.empty() ? "nothing" : difference.stored) + "\n");
    PrintText("  derived  " + Printable(difference.derived.empty() ? "nothing" : difference.derived) + "\n");
  }
}

absl::StatusOr<int> Run(Context& context, const std::string& name) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus found, client.FindStudy(name));
  // The list of studies leaves the study's text out.
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.GetStudy(found.id()));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, StudySpec::Parse(study.canonical_json(), study.name(), "/"));
  RUNG_ASSIGN_OR_RETURN(const Client::StudyLog log, client.ListEvents(study.id()));
  const ReplayReport report = Replay({study.id()}, spec, log.data_sha256, log.events);
  Show(context, study, report);
  return report.differences.empty() ? 0 : kFindings;
}

}  // namespace

void AddReplayCommand(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand(
      "replay", "Derive every decision of a study again from its seed and log, and compare");
  command.footer("Exits with 9 where a difference is found.\nExample:\n  rung replay gnad10");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("STUDY", *name, "Name or number; may be left out if there is one study");
  command.callback([&context, name] { context.action = [&context, name] { return Run(context, *name); }; });
}

}  // namespace rung
