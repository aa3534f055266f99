#include "cli/plan.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/output.h"
#include "search/plan.h"
#include "worker/text/budget_scale.h"

namespace rung {
namespace {

constexpr int kSample = 2000;
constexpr uint64_t kSampleStream = 0x706c616e;  // not the stream of any trial

BudgetScale::Unit UnitOf(const Budget& budget) {
  switch (budget.unit) {
    case BudgetUnit::kSteps:
      return BudgetScale::Unit::kSteps;
    case BudgetUnit::kSamples:
      return BudgetScale::Unit::kSamples;
    case BudgetUnit::kEpochs:
      break;
  }
  return BudgetScale::Unit::kEpochs;
}

// An option of the trainer: searched, fixed, or `fallback`.
double NumberOption(const StudySpec& spec, const Config& config, const std::string& name, double fallback) {
  if (const auto found = config.find(name); found != config.end()) {
    if (const auto* integer = std::get_if<int64_t>(&found->second)) return static_cast<double>(*integer);
    if (const auto* real = std::get_if<double>(&found->second)) return *real;
    return fallback;
  }
  const auto options = spec.trainer.find("options");
  if (options == spec.trainer.end() || !options->is_object()) return fallback;
  const auto value = options->find(name);
  return value != options->end() && value->is_number() ? value->get<double>() : fallback;
}

bool KnowsUpdates(const PreparedStudy& study) {
  return study.train_rows > 0 && study.spec.trainer.value("type", "") == "text_classification";
}

void AddSampledShares(const PreparedStudy& study, PlanReport& plan) {
  Rng rng(static_cast<uint64_t>(study.spec.seed), kSampleStream);
  int beyond = 0;
  int together = 0;
  for (int i = 0; i < kSample; ++i) {
    const Config config = study.spec.space.Sample(rng);
    const std::vector<int64_t> updates = RungUpdates(study.spec, config, study.train_rows);
    const int64_t schedule =
        study.spec.budget.on_promotion == OnPromotion::kResume ? updates.back() : updates.front();
    if (NumberOption(study.spec, config, "warmup_steps", 0) > static_cast<double>(schedule)) ++beyond;
    if (std::adjacent_find(updates.begin(), updates.end()) != updates.end()) ++together;
    if (i == 0 || updates.front() < plan.fewest_updates_first_rung)
      plan.fewest_updates_first_rung = updates.front();
  }
  plan.share_warmup_beyond = static_cast<double>(beyond) / kSample;
  plan.share_rungs_together = static_cast<double>(together) / kSample;
}

std::vector<std::string> Warnings(const PlanReport& plan, const PreparedStudy& study) {
  std::vector<std::string> warnings = study.warnings;
  if (plan.share_warmup_beyond > 0) {
    warnings.push_back(
        absl::StrFormat("%.0f %% of configs have more warm-up updates than the schedule has in all: their "
                        "learning rate never reaches its value",
                        100 * plan.share_warmup_beyond));
  }
  if (plan.share_rungs_together > 0) {
    warnings.push_back(
        absl::StrFormat("in %.0f %% of configs two neighbouring rungs end after the same update (%d rows): "
                        "they fall together",
                        100 * plan.share_rungs_together, study.train_rows));
  }
  return warnings;
}

std::string Joined(const std::vector<int>& values) {
  std::string text;
  for (const int value : values) text += (text.empty() ? "" : " → ") + std::to_string(value);
  return text;
}

std::string Joined(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : " → ") + NumberText(value);
  return text;
}

// The tensors of a checkpoint that are as large as the weights: these, and the moments of an optimiser that
// has some.
int CheckpointCopies(const StudySpec& spec) {
  std::vector<std::string> optimizers;
  for (const SearchedOption& option : SearchedOptions(spec.space)) {
    if (option.name != "optimizer_name") continue;
    for (const nlohmann::json& value : option.values) optimizers.push_back(value.get<std::string>());
  }
  const nlohmann::json options = spec.trainer.value("options", nlohmann::json::object());
  if (optimizers.empty()) optimizers.push_back(options.value("optimizer_name", "AdamW"));
  const bool only_sgd = std::all_of(optimizers.begin(), optimizers.end(),
                                    [](const std::string& name) { return name == "SGD"; });
  return only_sgd ? 2 : 3;
}

DiskNeed NeededDisk(const PreparedStudy& study, const std::vector<PlanRow>& rows) {
  DiskNeed disk;
  if (study.spec.trainer.value("type", "") == "text_classification") {
    disk.model_bytes = study.model_parameters * static_cast<int64_t>(sizeof(float));  // single precision
    disk.checkpoint_bytes = disk.model_bytes * CheckpointCopies(study.spec);
  }
  int most = 0;
  int completed = 0;
  for (const PlanRow& row : rows) {
    if (row.trials.empty()) continue;
    completed += row.trials.back();
    if (row.bracket >= 0 && row.trials.size() > 1) most = std::max(most, row.trials.front());
  }
  disk.kept_checkpoints = (most + 1) * study.spec.Replicates();
  disk.kept_models = completed * study.spec.Replicates();
  return disk;
}

double DeviceHours(double full_budgets, const PlanReport& plan, const StudySpec& spec) {
  return full_budgets * spec.budget.max * plan.time.unit_seconds / 3600;
}

std::string DiskText(const PlanReport& plan) {
  const DiskNeed& disk = plan.disk;
  if (disk.checkpoint_bytes == 0) {
    return absl::StrFormat(
        "disk: at most %s at a time, %d for each worker, and the models of %s; their size is not known "
        "before the first one\n",
        Counted(disk.kept_checkpoints, "checkpoint"), disk.checkpoints_per_worker,
        Counted(disk.kept_models, "completed trial"));
  }
  return absl::StrFormat("disk: at most %s (%s of %s, %d for each worker, and %s of completed trials)\n",
                         BytesText(disk.Bytes(plan.time.workers)),
                         Counted(disk.kept_checkpoints, "checkpoint"), BytesText(disk.checkpoint_bytes),
                         disk.checkpoints_per_worker, Counted(disk.kept_models, "model"));
}

std::string TimeText(const PlanReport& plan, const StudySpec& spec) {
  if (plan.time.unit_seconds <= 0) {
    return "time: unknown until the first results; say how long a budget unit takes with --unit-seconds, or "
           "plan again then\n";
  }
  const double hours = DeviceHours(plan.full_budgets, plan, spec);
  return absl::StrFormat("time: %s device hours at %s s a unit; about %s with %s\n", NumberText(hours),
                         NumberText(plan.time.unit_seconds),
                         DurationText(absl::Hours(hours / plan.time.workers)),
                         Counted(plan.time.workers, "worker"));
}

}  // namespace

std::vector<int64_t> RungUpdates(const StudySpec& spec, const Config& config, int64_t train_rows) {
  const auto option = [&](const char* name, double standard) {
    return std::max<int64_t>(1, static_cast<int64_t>(NumberOption(spec, config, name, standard)));
  };
  const BudgetScale scale(UnitOf(spec.budget), train_rows, option("per_device_train_batch_size", 16),
                          option("gradient_accumulation_steps", 1));
  std::vector<int64_t> updates;
  for (const double budget : spec.RungBudgets()) updates.push_back(scale.Updates(budget));
  return updates;
}

PlanReport MakePlan(const PreparedStudy& study, const PlanTime& time) {
  PlanReport plan;
  plan.time = time;
  plan.rows = Plan(study.spec);
  for (const PlanRow& row : plan.rows) {
    plan.trials += row.trials.empty() ? 0 : row.trials.front();
    plan.full_budgets += Cost(row, study.spec);
    plan.restart_full_budgets += row.cost_restart;
  }
  plan.disk = NeededDisk(study, plan.rows);
  if (KnowsUpdates(study)) AddSampledShares(study, plan);
  return plan;
}

absl::Status CheckDisk(const PreparedStudy& study, int workers, const std::string& directory) {
  const int64_t need = NeededDisk(study, Plan(study.spec)).Bytes(workers);
  struct statvfs info {};
  if (need == 0 || statvfs(directory.c_str(), &info) != 0) return absl::OkStatus();
  const int64_t free_bytes = static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
  if (free_bytes >= need) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted,
                   {"E0388",
                    absl::StrFormat("the study's checkpoints may need %s, and %s are free", BytesText(need),
                                    BytesText(free_bytes)),
                    directory, BytesText(free_bytes),
                    "Make room, give --dir on another disk, or give --no-check to try all the same"});
}

std::string PlanText(const PlanReport& plan, const PreparedStudy& study, const Terminal& terminal) {
  const StudySpec& spec = study.spec;
  const char* unit = Name(spec.budget.unit);
  std::string text = absl::StrFormat("%s: %s over %s, %s %s\n\n", Printable(spec.name),
                                     Name(spec.algorithm.type), Counted(spec.space.Dimension(), "parameter"),
                                     Name(spec.objective.goal), Printable(spec.objective.metric));
  const bool timed = plan.time.unit_seconds > 0;
  std::vector<std::string> headers = {"bracket", "trials", unit, "full budgets", "if retrained"};
  if (timed) headers.emplace_back("device hours");
  Table table(headers);
  for (const PlanRow& row : plan.rows) {
    std::vector<std::string> cells = {row.bracket < 0 ? "enqueued" : std::to_string(row.bracket),
                                      Joined(row.trials), Joined(row.budgets), NumberText(Cost(row, spec)),
                                      NumberText(row.cost_restart)};
    if (timed) cells.push_back(NumberText(DeviceHours(Cost(row, spec), plan, spec)));
    table.AddRow(std::move(cells));
  }
  text += table.Text(terminal);
  const double all = plan.full_budgets;
  const auto brackets =
      std::count_if(plan.rows.begin(), plan.rows.end(), [](const PlanRow& row) { return row.bracket >= 0; });
  text += absl::StrFormat("\n%s in %s", Counted(plan.trials, "trial"), Counted(brackets, "bracket"));
  const int replicates = spec.Replicates();
  if (replicates > 1) text += absl::StrFormat(", each config judged by %s", Counted(replicates, "run"));
  text += absl::StrFormat("\ncost: %s full budget%s of %s = %s", NumberText(all), all == 1 ? "" : "s",
                          AmountText(spec.budget.max, spec.budget.unit),
                          AmountText(all * spec.budget.max, spec.budget.unit));
  if (plan.restart_full_budgets > plan.full_budgets) {
    text += absl::StrFormat(" (resuming promoted trials saves %.0f %% of it)",
                            100 * (1 - plan.full_budgets / plan.restart_full_budgets));
  }
  text += "\n";
  if (study.train_rows > 0) {
    text += absl::StrFormat("%s", Counted(study.train_rows, "training row"));
    if (plan.fewest_updates_first_rung > 0) {
      text += absl::StrFormat("; at the first rung a config makes at least %s",
                              Counted(plan.fewest_updates_first_rung, "update"));
    }
    text += "\n";
  }
  for (const TrainingClasses& found : study.classes) text += Printable(ClassesText(found)) + "\n";
  text += TimeText(plan, spec) + DiskText(plan);
  for (const std::string& warning : Warnings(plan, study)) text += "warning: " + Printable(warning) + "\n";
  return text;
}

OrderedJson PlanJson(const PlanReport& plan, const PreparedStudy& study) {
  OrderedJson json = JsonDocument();
  json["name"] = study.spec.name;
  json["budget_unit"] = Name(study.spec.budget.unit);
  const auto seconds = [&](double full_budgets) {
    const double hours = DeviceHours(full_budgets, plan, study.spec);
    return plan.time.unit_seconds > 0 ? OrderedJson(3600 * hours) : OrderedJson(nullptr);
  };
  json["brackets"] = OrderedJson::array();
  for (const PlanRow& row : plan.rows) {
    json["brackets"].push_back({{"bracket", row.bracket},
                                {"trials", row.trials},
                                {"budgets", row.budgets},
                                {"cost_resume_full_budgets", row.cost_resume},
                                {"cost_restart_full_budgets", row.cost_restart},
                                {"device_seconds", seconds(Cost(row, study.spec))}});
  }
  json["trials"] = plan.trials;
  json["enqueued"] = study.spec.enqueue.size();
  json["replicates"] = study.spec.Replicates();
  json["cost_full_budgets"] = plan.full_budgets;
  json["cost_budget"] = plan.full_budgets * study.spec.budget.max;
  json["device_seconds"] = seconds(plan.full_budgets);
  json["workers"] = plan.time.workers;
  json["kept_checkpoints"] = plan.disk.kept_checkpoints;
  json["kept_models"] = plan.disk.kept_models;
  const bool sized = plan.disk.checkpoint_bytes > 0;
  json["checkpoint_bytes"] = sized ? OrderedJson(plan.disk.checkpoint_bytes) : OrderedJson(nullptr);
  json["model_bytes"] = sized ? OrderedJson(plan.disk.model_bytes) : OrderedJson(nullptr);
  json["peak_disk_bytes"] = sized ? OrderedJson(plan.disk.Bytes(plan.time.workers)) : OrderedJson(nullptr);
  json["train_rows"] = study.train_rows > 0 ? OrderedJson(study.train_rows) : OrderedJson(nullptr);
  json["training_data"] = OrderedJson::array();
  for (const TrainingClasses& found : study.classes) {
    OrderedJson classes = OrderedJson::array();
    for (const auto& [name, rows] : found.classes) classes.push_back({{"class", name}, {"rows", rows}});
    json["training_data"].push_back({{"path", found.path}, {"rows", found.rows}, {"classes", classes}});
  }
  json["share_warmup_beyond_schedule"] = plan.share_warmup_beyond;
  json["share_rungs_together"] = plan.share_rungs_together;
  json["warnings"] = Warnings(plan, study);
  return json;
}

}  // namespace rung
