// rung trial show T: everything about one trial: config, results by rung, attempts, events.
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

std::string ResultsText(const v1::TrialRow& row, const StudySpec& spec, const Terminal& terminal) {
  Table table({"rung", std::string(Name(spec.budget.unit)), "replicate", "attempt", spec.objective.metric,
               "charged", "device", "attempts", "losses", "copied from"});
  for (const auto& rung : row.rungs()) {
    for (const auto& replicate : rung.replicates()) {
      const v1::Metric* metric = FindMetric(replicate.values(), spec.objective.metric);
      table.AddRow({std::to_string(rung.rung()), NumberText(rung.budget()),
                    std::to_string(replicate.replicate()), std::to_string(replicate.attempt()),
                    metric == nullptr ? "-" : MetricText(*metric), NumberText(replicate.charged()),
                    DurationText(absl::Seconds(replicate.device_seconds())),
                    std::to_string(replicate.attempts()), std::to_string(replicate.losses()),
                    replicate.copied_from().empty() ? "-" : replicate.copied_from()});
    }
  }
  return table.empty() ? "no results yet\n" : table.Text(terminal);
}

std::string AttemptsText(const v1::TrialDetail& detail, const Terminal& terminal) {
  Table table({"rung", "replicate", "kind", "attempt", "worker", "state", "started", "took"});
  for (const auto& attempt : detail.attempts()) {
    const bool ended = attempt.ended_at_ms() != 0;
    table.AddRow(
        {std::to_string(attempt.key().rung()), std::to_string(attempt.key().replicate()),
         attempt.key().kind() == v1::ATTEMPT_KIND_EVALUATE ? "evaluate" : "train",
         std::to_string(attempt.key().attempt()), attempt.worker(), attempt.state(),
         LocalTimeText(attempt.started_at_ms()),
         ended ? DurationText(absl::Milliseconds(attempt.ended_at_ms() - attempt.started_at_ms())) : "-"});
  }
  return table.empty() ? "" : "\n" + table.Text(terminal);
}

std::string EventsText(const v1::TrialDetail& detail, const Terminal& terminal) {
  Table table({"event", "at", "kind", "rung", "what"});
  for (const auto& event : detail.events()) {
    table.AddRow({std::to_string(event.seq()), LocalTimeText(event.at_ms()), event.kind(),
                  std::to_string(event.rung()), FirstLine(event.text())});
  }
  return table.empty() ? "" : "\n" + table.Text(terminal);
}

absl::StatusOr<int> Show(Context& context, const std::string& name) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const Client::TrialName trial, client.FindTrial(name));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(trial.study));
  RUNG_ASSIGN_OR_RETURN(const v1::TrialDetail detail, client.GetTrial(trial.study.id(), trial.trial));
  const v1::TrialRow& row = detail.row();
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(TrialJson(row));
    json["attempts"] = OrderedJson::array();
    for (const auto& attempt : detail.attempts()) json["attempts"].push_back(AttemptJson(attempt));
    json["events"] = OrderedJson::array();
    for (const auto& event : detail.events()) json["events"].push_back(EventJson(event));
    PrintJson(json);
    return 0;
  }
  std::string text = absl::StrFormat("trial %d of %s: %s at rung %d", row.trial(), trial.study.name(),
                                     row.state(), row.rung());
  if (!row.cause().empty()) text += " (" + row.cause() + ")";
  text = Printable(text) + "\n";
  if (!row.message().empty()) text += PrintableLines(row.message()) + "\n";
  text += "origin: " + row.origin() + "; explain it with `rung trial why " + trial.study.name() + "/" +
          std::to_string(row.trial()) + "`\n\n";
  Table config({"parameter", "value"});
  const OrderedJson values = OrderedJson::parse(row.config_json(), nullptr, false);
  if (values.is_object()) {
    for (const auto& [key, value] : values.items()) {
      config.AddRow({key, value.is_string() ? value.get<std::string>() : value.dump()});
    }
  }
  text += config.Text(context.terminal) + "\n" + ResultsText(row, spec, context.terminal);
  for (const auto& metric : row.evaluation())
    text += Printable(metric.name()) + " = " + MetricText(metric) + "\n";
  text += AttemptsText(detail, context.terminal) + EventsText(detail, context.terminal);
  PrintText(text);
  return 0;
}

}  // namespace

void AddTrialShowCommand(CLI::App& trial, Context& context) {
  CLI::App& command = *trial.add_subcommand("show", "Show everything about one trial");
  command.footer("Example:\n  rung trial show gnad10/17");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("TRIAL", *name, "STUDY/NUMBER, or NUMBER if there is one study")->required();
  command.callback([&context, name] { context.action = [&context, name] { return Show(context, *name); }; });
}

}  // namespace rung
