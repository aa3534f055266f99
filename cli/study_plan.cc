// rung study plan FILE: what a study would do; nothing is stored, no coordinator is needed.
#include <memory>
#include <optional>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/plan.h"
#include "proto/endpoint.h"

namespace rung {
namespace {

struct Options {
  std::string file;
  bool no_check = false;
  PlanTime time;
};

// What the study has shown so far, if it is known in the state directory: read from status.json, so that
// no coordinator is needed.
double MeasuredUnitSeconds(const Context& context, const std::string& study) {
  const std::optional<StateDir> dir = FindStateDir(context.dir_flag);
  if (!dir.has_value()) return 0;
  const auto text = ReadFile(dir->status(), int64_t{16} << 20);
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, false);
  if (!json.is_object() || !json.contains("studies") || !json["studies"].is_array()) return 0;
  for (const auto& entry : json["studies"]) {
    if (!entry.is_object() || entry.value("name", "") != study) continue;
    const auto number = [&entry](const char* key) {
      return entry.contains(key) && entry[key].is_number() ? entry[key].get<double>() : 0.0;
    };
    const double charged = number("budget_charged");
    return charged > 0 ? number("device_seconds") / charged : 0;
  }
  return 0;
}

absl::StatusOr<int> Show(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const PreparedStudy study, PrepareStudy(options.file, !options.no_check));
  PlanTime time = options.time;
  if (time.unit_seconds <= 0) time.unit_seconds = MeasuredUnitSeconds(context, study.spec.name);
  const PlanReport plan = MakePlan(study, time);
  if (context.format == Format::kJson) {
    PrintJson(PlanJson(plan, study));
  } else {
    PrintText(PlanText(plan, study, context.terminal));
  }
  return 0;
}

}  // namespace

void AddStudyPlanCommand(CLI::App& study, Context& context) {
  CLI::App& command =
      *study.add_subcommand("plan", "Show brackets, rungs, trials and cost before anything runs");
  command.footer("Example:\n  rung study plan gnad10.json");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("FILE", options->file, "Study file (JSON)")->required();
  command.add_option("--workers", options->time.workers, "Workers that the time is for (default 1)")
      ->check(CLI::Range(1, 4096));
  command
      .add_option(
          "--unit-seconds", options->time.unit_seconds,
          "Seconds that one budget unit takes on a device (default: as measured in this study so far)")
      ->check(Above(0));
  command.add_flag("--no-check", options->no_check, "Do not read the data and the model's header");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Show(context, *options); }; });
}

}  // namespace rung
