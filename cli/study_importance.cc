// rung study importance S: which parameters decide the score at a rung, and which pairs do so together.
#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"
#include "proto/wire.h"
#include "search/importance.h"

namespace rung {
namespace {

struct Options {
  std::string study;
  int rung = -1;
};

bool IsFinite(const v1::RungResult& result) {
  return result.has_score() && std::isfinite(FromWire(result.score()));
}

// Finite results by rung.
std::vector<size_t> Counts(const std::vector<v1::TrialRow>& trials, size_t rungs) {
  std::vector<size_t> counts(rungs);
  for (const v1::TrialRow& trial : trials) {
    for (const v1::RungResult& result : trial.rungs()) {
      const auto rung = static_cast<size_t>(result.rung());
      if (rung < rungs && IsFinite(result)) ++counts[rung];
    }
  }
  return counts;
}

// The wanted rung, else the highest one with enough results. Errors: InvalidArgument (E0105: no such rung),
// FailedPrecondition (E0392: too few results).
absl::StatusOr<int> ChosenRung(const std::vector<size_t>& counts, size_t fewest, int wanted) {
  const auto rungs = static_cast<int>(counts.size());
  if (wanted >= rungs) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0105", absl::StrFormat("the study has no rung %d", wanted), "command line", std::to_string(wanted),
         rungs == 1 ? "Its only rung is 0" : absl::StrFormat("Use a rung from 0 to %d", rungs - 1)});
  }
  const auto count = [&](int rung) { return counts[static_cast<size_t>(rung)]; };
  int enough = rungs - 1;
  while (enough >= 0 && count(enough) < fewest) --enough;
  const int rung = wanted >= 0 ? wanted : enough;
  if (rung >= 0 && count(rung) >= fewest) return rung;
  const auto fullest = static_cast<int>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  const int looked_at = wanted >= 0 ? wanted : fullest;
  const auto found = static_cast<int64_t>(count(looked_at));
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"E0392",
                    absl::StrFormat("rung %d has %s, of at least %d that importance needs", looked_at,
                                    Counted(found, "finite result"), fewest),
                    "", std::to_string(found),
                    enough >= 0 ? absl::StrFormat("Use --rung %d, or train more trials to it", enough)
                                : "Train more trials to one rung"});
}

absl::StatusOr<Importance> ImportanceAt(int rung, const std::vector<v1::TrialRow>& trials,
                                        const StudySpec& spec) {
  std::vector<Config> configs;
  configs.reserve(trials.size());  // results point into it
  std::vector<Observation> results;
  for (const v1::TrialRow& trial : trials) {
    for (const v1::RungResult& result : trial.rungs()) {
      if (result.rung() != rung || !IsFinite(result)) continue;
      RUNG_ASSIGN_OR_RETURN(Config config,
                            ConfigFromJson(nlohmann::json::parse(trial.config_json(), nullptr, false)));
      RUNG_RETURN_IF_ERROR(spec.space.Validate(config));
      configs.push_back(std::move(config));
      results.push_back({{trial.trial()}, &configs.back(), FromWire(result.score())});
      break;
    }
  }
  return ImportanceOf(spec.space, std::move(results), spec.seed);
}

OrderedJson ShareJson(OrderedJson json, const Importance::Share& share) {
  json["share"] = share.mean;
  json["deviation"] = share.deviation;
  return json;
}

OrderedJson ImportanceJson(const Importance& importance) {
  OrderedJson json;
  json["parameters"] = OrderedJson::array();
  for (const Importance::MainEffect& each : importance.parameters)
    json["parameters"].push_back(ShareJson({{"parameter", each.parameter}}, each.share));
  json["interactions"] = OrderedJson::array();
  for (const Importance::Interaction& each : importance.interactions) {
    OrderedJson pair;
    pair["parameters"] = {each.first, each.second};
    json["interactions"].push_back(ShareJson(std::move(pair), each.share));
  }
  return json;
}

std::string ImportanceText(const Importance& importance, const Terminal& terminal) {
  Table table({"parameter", "share", "deviation"});
  const auto add = [&](const std::string& name, const Importance::Share& share) {
    table.AddRow({name, absl::StrFormat("%.1f %%", 100 * share.mean),
                  absl::StrFormat("%.1f %%", 100 * share.deviation)});
  };
  for (const Importance::MainEffect& each : importance.parameters) add(each.parameter, each.share);
  for (const Importance::Interaction& each : importance.interactions)
    add(each.first + " with " + each.second, each.share);
  return table.Text(terminal);
}

absl::StatusOr<int> Show(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(options.study));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(study));
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::TrialRow> trials, client.ListTrials(study.id()));
  const std::vector<double> budgets = spec.RungBudgets();
  const std::vector<size_t> counts = Counts(trials, budgets.size());
  RUNG_ASSIGN_OR_RETURN(const int rung,
                        ChosenRung(counts, FewestImportanceResults(spec.space), options.rung));
  const auto at = static_cast<size_t>(rung);
  RUNG_ASSIGN_OR_RETURN(const Importance importance, ImportanceAt(rung, trials, spec));
  if (importance.trees == 0) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0393", absl::StrFormat("all results at rung %d are equal, so no parameter has a share", rung), "",
         study.name(), "Look at another rung, or at whether the metric reads the training"});
  }
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = study.id();
    json["name"] = study.name();
    json["metric"] = spec.objective.metric;
    json["rung"] = rung;
    json["budget"] = budgets[at];
    json["results"] = counts[at];
    json["results_used"] = importance.results;
    json["trees"] = importance.trees;
    json.update(ImportanceJson(importance));
    PrintJson(json);
    return 0;
  }
  const std::string used =
      importance.results < counts[at] ? absl::StrFormat("%d of ", importance.results) : std::string();
  PrintNote(Printable(absl::StrFormat("shares of the variance of %s over the space, at %s, from %s%s",
                                      spec.objective.metric, BudgetText(rung, budgets[at], spec.budget.unit),
                                      used, Counted(static_cast<int64_t>(counts[at]), "result"))));
  PrintText(ImportanceText(importance, context.terminal));
  return 0;
}

}  // namespace

void AddStudyImportanceCommand(CLI::App& study, Context& context) {
  CLI::App& command =
      *study.add_subcommand("importance", "Show which parameters decide the score, alone and two together");
  command.footer(
      "Needs 10 finite results at a rung, or 2 for each parameter if that is more.\n"
      "Example:\n  rung study importance gnad10 --rung 0");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("STUDY", options->study, "Name or id (may be left out if there is one study)");
  command
      .add_option("--rung", options->rung,
                  "By the results at this rung, from 0 (default: the highest with enough results)")
      ->check(AtLeast(0));
  command.callback(
      [&context, options] { context.action = [&context, options] { return Show(context, *options); }; });
}

}  // namespace rung
