// rung trial why T: how a config came to be proposed and what was decided about it, in words and numbers.
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

std::string SourceText(const std::string& origin) {
  if (origin == "enqueued") return "Its config was enqueued in the study file.";
  if (origin == "random") return "Its config was drawn at random from the space.";
  if (origin == "model")
    return "Its config was proposed by the model: it lies where good configs were denser than bad ones.";
  if (origin == "grid") return "Its config is the next point of the grid.";
  return "Its origin is " + origin + ".";
}

std::string FlatText(const OrderedJson& value) {
  if (value.is_number_float()) return NumberText(value.get<double>());
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    std::string text;
    for (const auto& element : value) text += (text.empty() ? "" : ", ") + FlatText(element);
    return text.empty() ? "none" : text;
  }
  return value.dump();
}

// Nested objects as "outer.inner", so that whatever a sampler stored is shown.
void AddRows(const OrderedJson& json, const std::string& prefix, Table& table) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_object()) {
      AddRows(value, prefix + key + ".", table);
    } else {
      table.AddRow({prefix + key, FlatText(value)});
    }
  }
}

std::string AsOfText(const OrderedJson& origin) {
  if (!origin.is_object() || !origin.contains("as_of")) return "";
  std::string text = "The decision saw the study up to event " + FlatText(origin["as_of"]);
  if (origin.contains("pending")) {
    const auto& pending = origin["pending"];
    text += pending.empty() ? ", when no other trial was pending"
                            : ", when trials " + FlatText(pending) + " were pending";
  }
  return text + ".\n";
}

absl::StatusOr<int> Why(Context& context, const std::string& name) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const Client::TrialName trial, client.FindTrial(name));
  RUNG_ASSIGN_OR_RETURN(const v1::TrialDetail detail, client.GetTrial(trial.study.id(), trial.trial));
  const OrderedJson origin = OrderedJson::parse(detail.origin_json(), nullptr, false);
  const v1::TrialRow& row = detail.row();
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = row.study();
    json["trial"] = row.trial();
    json["origin"] = row.origin();
    json["why"] = origin.is_discarded() ? OrderedJson(nullptr) : origin;
    json["config"] = OrderedJson::parse(row.config_json(), nullptr, false);
    json["events"] = OrderedJson::array();
    for (const auto& event : detail.events()) json["events"].push_back(EventJson(event));
    PrintJson(json);
    return 0;
  }
  std::string text = WithoutControls(absl::StrFormat("Trial %d of %s: %s", row.trial(), trial.study.name(),
                                                     ConfigText(row.config_json()))) +
                     "\n\n";
  text += SourceText(row.origin()) + "\n" + AsOfText(origin);
  if (origin.is_object() && !origin.empty()) {
    Table table({"what the decision used", "value"});
    AddRows(origin, "", table);
    text += "\n" + table.Text(context.terminal);
  }
  Table events({"event", "what happened then", ""});
  for (const auto& event : detail.events())
    events.AddRow({std::to_string(event.seq()), event.kind(), event.text()});
  if (!events.empty()) text += "\n" + events.Text(context.terminal);
  if (!row.message().empty()) text += "\n" + WithoutControls(row.message()) + "\n";
  PrintText(text);
  return 0;
}

}  // namespace

void AddTrialWhyCommand(CLI::App& trial, Context& context) {
  CLI::App& command =
      *trial.add_subcommand("why", "Explain where a trial's config comes from and what was decided");
  command.footer("Example:\n  rung trial why gnad10/17");
  const auto name = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command.add_option("TRIAL", *name, "STUDY/NUMBER, or NUMBER if there is one study")->required();
  command.callback([&context, name] { context.action = [&context, name] { return Why(context, *name); }; });
}

}  // namespace rung
