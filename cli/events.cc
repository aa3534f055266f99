// rung events [STUDY] [-f]: a study's log, event by event.
#include <signal.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/signals.h"
#include "cli/views.h"
#include "search/event_json.h"
#include "search/space.h"

namespace rung {
namespace {

constexpr absl::Duration kWait = absl::Milliseconds(500);  // so that Ctrl-C is heard soon

struct Options {
  std::string study;
  bool follow = false;
};

std::string WhatOf(const Event& event) {
  switch (event.kind) {
    case EventKind::kTrialCreated:
      return CanonicalJson(event.config);
    case EventKind::kAttemptGranted:
      return "to " + event.worker;
    case EventKind::kAttemptLost:
      return Name(event.loss);
    case EventKind::kAttemptFailed:
      return Name(event.cause);
    case EventKind::kCheckpoint:
      return "at budget " + NumberText(event.result.charged);
    case EventKind::kResult:
      return absl::StrJoin(event.result.values, ", ", [](std::string* out, const auto& item) {
        *out += item.first + " " + NumberText(item.second);
      });
    case EventKind::kPromoted:
      return absl::StrFormat("to rung %d", event.job.rung);
    case EventKind::kTrialFinished:
      return Name(event.trial_state);
    case EventKind::kStudyState:
      return Name(event.study_state);
  }
  return "";
}

OrderedJson EventJson(int64_t study, const Event& event) {
  OrderedJson json = {{"study", study}};
  json.update(OrderedJson(ToJson(event)));
  json["at"] = JsonTime(absl::ToUnixMillis(event.at));
  return json;
}

void Print(const Context& context, int64_t study, const std::vector<Event>& events) {
  for (const Event& event : events) {
    if (context.format == Format::kJson) {
      OrderedJson json = JsonDocument();  // one object a line: a stream for scripts
      json.update(EventJson(study, event));
      PrintText(json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
      continue;
    }
    const std::string number = event.attempt > 0 ? std::to_string(event.attempt) : "-";
    const std::string what = WhatOf(event) + (event.message.empty() ? "" : ": " + FirstLine(event.message));
    PrintText(absl::StrFormat(
        "%-6d %s  %-15s %4s %4s %4s %4s  %s\n", event.seq, LocalTimeText(absl::ToUnixMillis(event.at)),
        Name(event.kind), event.job.trial.value > 0 ? std::to_string(event.job.trial.value) : "-",
        std::to_string(event.job.rung), std::to_string(event.job.replicate), number, Printable(what)));
  }
}

absl::StatusOr<int> Follow(Context& context, Client& client, v1::StudyStatus study, Signals& signals) {
  int64_t seen = 0;
  while (true) {
    RUNG_ASSIGN_OR_RETURN(const Client::StudyLog log, client.ListEvents(study.id(), seen));
    Print(context, study.id(), log.events);
    if (!log.events.empty()) seen = log.events.back().seq;
    if (IsOver(study) && seen >= study.version()) return 0;
    if (signals.Wait(absl::ZeroDuration()).has_value()) {
      PrintNote("the study goes on");
      return 130;
    }
    RUNG_ASSIGN_OR_RETURN(study, client.GetStudy(study.id(), seen, kWait));
  }
}

absl::StatusOr<int> Events(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  std::optional<Signals> signals;
  if (options.follow) signals.emplace(std::vector<int>{SIGINT, SIGTERM});
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(options.study));
  if (context.format == Format::kTable) {
    PrintText(absl::StrFormat("%-6s %-*s  %-15s %4s %4s %4s %4s  %s\n", "seq",
                              static_cast<int>(LocalTimeText(1).size()), "at", "event", "tri.", "rung",
                              "rep.", "att.", "what"));
  }
  if (options.follow) return Follow(context, client, study, *signals);
  RUNG_ASSIGN_OR_RETURN(const Client::StudyLog log, client.ListEvents(study.id()));
  if (context.format == Format::kTable) {
    Print(context, study.id(), log.events);
    return 0;
  }
  OrderedJson json = JsonDocument();
  json["study"] = study.id();
  json["events"] = OrderedJson::array();
  for (const Event& event : log.events) json["events"].push_back(EventJson(study.id(), event));
  PrintJson(json);
  return 0;
}

}  // namespace

void AddEventsCommand(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("events", "Show a study's log: all that was stored, in order");
  command.footer(
      "With -f and -o json: one object a line. Ctrl-C never stops the study.\nExample:\n  rung events gnad10 "
      "-f");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("STUDY", options->study, "Name or id (may be left out if there is one study)");
  command.add_flag("-f,--follow", options->follow, "Go on until the study is over");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Events(context, *options); }; });
}

}  // namespace rung
