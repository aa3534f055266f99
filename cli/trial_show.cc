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

std::string LeftOut(int count, const std::string& what) {
  return count == 0 ? "" : absl::StrFormat("%d older %s are left out\n", count, what);
}

std::string AttemptsText(const v1::TrialDetail& detail, const Terminal& terminal) {
  Table table({"rung", "replicate", "kind", "attempt", "worker", "state", "started", "took"});
  for (const auto& attempt : detail.attempts()) {
    const bool ended = attempt.ended_at_ms() != 0;
    table.AddRow(
        {std::to_string(attempt.key().rung()), std::to_string(attempt.key().replicate()),
         KindName(attempt.key().kind()), std::to_string(attempt.key().attempt()), attempt.worker(),
         attempt.state(), LocalTimeText(attempt.started_at_ms()),
         ended ? DurationText(absl::Milliseconds(attempt.ended_at_ms() - attempt.started_at_ms())) : "-"});
  }
  return table.empty() ? "" : "\n" + LeftOut(detail.attempts_left_out(), "attempts") + table.Text(terminal);
}

std::string EventsText(const v1::TrialDetail& detail, const Terminal& terminal) {
  Table table({"event", "at", "kind", "rung", "what"});
  for (const auto& event : detail.events()) {
    table.AddRow({std::to_string(event.seq()), LocalTimeText(event.at_ms()), event.kind(),
                  std::to_string(event.rung()), FirstLine(event.text())});
  }
  return table.empty() ? "" : "\n" + LeftOut(detail.events_left_out(), "events") + table.Text(terminal);
}

struct Options {
  std::string trial;
  bool curve = false;
};

// The learning curves: one row a point.
absl::Status ShowCurve(const Context& context, Client& client, const Client::TrialName& trial) {
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::CurvePoint> points,
                        client.ListPoints(trial.study.id(), trial.trial));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = trial.study.id();
    json["trial"] = trial.trial;
    json["points"] = OrderedJson::array();
    for (const v1::CurvePoint& point : points) json["points"].push_back(PointJson(point));
    PrintJson(json);
    return absl::OkStatus();
  }
  Table table({"rung", "replicate", "kind", "attempt", "step", "budget", "metric", "value"});
  for (const v1::CurvePoint& point : points) {
    table.AddRow({std::to_string(point.rung()), std::to_string(point.replicate()), KindName(point.kind()),
                  std::to_string(point.attempt()), std::to_string(point.point().step()),
                  NumberText(point.point().budget()), point.point().metric().name(),
                  MetricText(point.point().metric())});
  }
  PrintText(table.empty() ? "no points yet\n" : table.Text(context.terminal));
  return absl::OkStatus();
}

absl::StatusOr<int> Show(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const Client::TrialName trial, client.FindTrial(options.trial));
  if (options.curve) {
    RUNG_RETURN_IF_ERROR(ShowCurve(context, client, trial));
    return 0;
  }
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(trial.study));
  RUNG_ASSIGN_OR_RETURN(const v1::TrialDetail detail, client.GetTrial(trial.study.id(), trial.trial));
  const v1::TrialRow& row = detail.row();
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(TrialJson(row));
    json["attempts"] = OrderedJson::array();
    for (const auto& attempt : detail.attempts()) json["attempts"].push_back(AttemptJson(attempt));
    json["attempts_left_out"] = detail.attempts_left_out();
    json["events"] = OrderedJson::array();
    for (const auto& event : detail.events()) json["events"].push_back(EventJson(event));
    json["events_left_out"] = detail.events_left_out();
    PrintJson(json);
    return 0;
  }
  std::string text = absl::StrFormat("trial %d of %s: %s at rung %d", row.trial(), trial.study.name(),
                                     row.state(), row.rung());
  if (!row.cause().empty()) text += " (" + row.cause() + ")";
  text = Printable(text) + "\n";
  if (!row.message().empty()) text += PrintableLines(row.message()) + "\n";
  text += "origin: " + row.origin() + "; explain it with `rung trial why " + trial.study.name() + "/" +
          std::to_string(row.trial()) + context.DirOption() + "`\n\n";
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
  command.footer("Example:\n  rung trial show gnad10/17 --curve");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("TRIAL", options->trial, "STUDY/NUMBER, or NUMBER if there is one study")->required();
  command.add_flag("--curve", options->curve, "Its learning curves instead: every point, by step");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Show(context, *options); }; });
}

}  // namespace rung
