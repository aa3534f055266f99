// rung trial why T: how a config came to be proposed and what was decided about it, in words and numbers.
#include <map>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

// Why a config was drawn at random, from the sampler's own word for it.
std::string RandomReason(const std::string& why) {
  if (why == "too_few_results") return ": there were too few results for a model";
  if (why == "random_fraction") return ": a fixed share of configs is, so that nothing is overlooked";
  if (why == "all_candidates_known") return ": everything the model proposed had been tried";
  return why.empty() ? "" : " (" + why + ")";
}

std::string SourceText(const std::string& origin, const OrderedJson& detail) {
  if (origin == "enqueued") return "Its config was enqueued in the study file.";
  if (origin == "grid") return "Its config is the next point of the grid.";
  if (origin == "random")
    return "Its config was drawn at random" + RandomReason(detail.value("why", "")) + ".";
  if (origin != "model") return "Its origin is " + origin + ".";
  if (!detail.contains("density_good") || !detail.contains("score"))
    return "Its config was proposed by the model.";
  return absl::StrFormat(
      "Its config was proposed by the model of rung %d, made of %d results: %d good and %d bad. Of %d "
      "candidates it is the "
      "one that is likeliest to be good: the density of good configs there is %s, of bad ones %s (%s times).",
      detail.value("rung", 0), detail.value("points", 0), detail.value("n_good", 0), detail.value("n_bad", 0),
      detail.value("candidates", 0), NumberText(detail.value("density_good", 0.0)),
      NumberText(detail.value("density_bad", 0.0)), NumberText(detail.value("score", 0.0)));
}

// {"as_of", "pending", ..., "detail"}, or what the sampler alone had to say. The store keeps that as the
// sampler wrote it: JSON in a string.
OrderedJson OriginOf(const v1::TrialDetail& trial) {
  OrderedJson origin = OrderedJson::parse(trial.origin_json(), nullptr, false);
  if (!origin.is_object()) return OrderedJson::object();
  if (!origin.contains("detail")) return {{"detail", origin}};
  if (origin["detail"].is_string()) {
    const OrderedJson detail = OrderedJson::parse(origin["detail"].get<std::string>(), nullptr, false);
    origin["detail"] = detail.is_object() ? detail : OrderedJson::object();
  }
  return origin;
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

// A stored key in words; those of a sampler that are not known here as they are, with blanks.
std::string KeyText(const std::string& key) {
  static const std::map<std::string, std::string> kWords = {{"model_rung", "rung of the model"},
                                                            {"points", "results it saw"},
                                                            {"n_good", "good ones"},
                                                            {"n_bad", "bad ones"},
                                                            {"density_good", "density of good configs there"},
                                                            {"density_bad", "density of bad configs there"},
                                                            {"why", "reason"}};
  const auto found = kWords.find(key);
  return found == kWords.end() ? absl::StrReplaceAll(key, {{"_", " "}}) : found->second;
}

// What a sentence has said already, or what says nothing.
bool IsSaid(const std::string& key, const OrderedJson& value) {
  return key == "as_of" || key == "pending" || (key == "model_rung" && value == -1);
}

// Nested objects as "outer: inner", so that whatever a sampler stored is shown.
void AddRows(const OrderedJson& json, const std::string& prefix, Table& table) {
  for (const auto& [key, value] : json.items()) {
    if (IsSaid(key, value)) continue;
    if (value.is_object()) {
      AddRows(value, key == "detail" ? prefix : prefix + KeyText(key) + ": ", table);
    } else {
      table.AddRow({prefix + KeyText(key), FlatText(value)});
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
  const OrderedJson origin = OriginOf(detail);
  const v1::TrialRow& row = detail.row();
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = row.study();
    json["trial"] = row.trial();
    json["origin"] = row.origin();
    json["why"] = origin;
    json["config"] = OrderedJson::parse(row.config_json(), nullptr, false);
    json["events"] = OrderedJson::array();
    for (const auto& event : detail.events()) json["events"].push_back(EventJson(event));
    PrintJson(json);
    return 0;
  }
  std::string text = Printable(absl::StrFormat("Trial %d of %s: %s", row.trial(), trial.study.name(),
                                               ConfigText(row.config_json()))) +
                     "\n\n";
  text += SourceText(row.origin(), origin.value("detail", OrderedJson::object())) + "\n" + AsOfText(origin);
  if (!origin.empty()) {
    Table table({"what the decision used", "value"});
    AddRows(origin, "", table);
    if (!table.empty()) text += "\n" + table.Text(context.terminal);
  }
  Table events({"event", "what happened then", ""});
  for (const auto& event : detail.events())
    events.AddRow({std::to_string(event.seq()), event.kind(), FirstLine(event.text())});
  if (!events.empty()) text += "\n" + events.Text(context.terminal);
  if (!row.message().empty()) text += "\n" + PrintableLines(row.message()) + "\n";
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
