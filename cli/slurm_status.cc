// rung slurm status [S]: a study's state beside what the queue says of its jobs. Starts no coordinator: where
// none answers, what it wrote last is shown with its age.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/coordinator_access.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"

namespace rung {
namespace {

struct StatusFlags {
  std::string study;
  bool over = false;
};

struct Row {
  QueuedJob job;
  std::string role;
  int tasks = 1;  // of an array, that say the same
};

OrderedJson RowJson(const Row& row) {
  const auto known = [](const std::string& text) {
    return text.empty() || text == "N/A" ? OrderedJson(nullptr) : OrderedJson(text);
  };
  return {{"job", row.job.number},      {"task", row.job.id},       {"role", row.role},
          {"state", row.job.state},     {"reason", row.job.reason}, {"start", known(row.job.start)},
          {"elapsed", row.job.elapsed}, {"limit", row.job.limit},   {"priority", row.job.priority}};
}

absl::StatusOr<std::vector<Row>> Rows(const StateDir& dir, const std::string& study) {
  std::map<int64_t, std::string> roles;
  std::vector<int64_t> numbers;
  for (const NotedJob& job : NotedJobs(dir, study)) {
    roles[job.number] = job.role;
    numbers.push_back(job.number);
  }
  RUNG_ASSIGN_OR_RETURN(const std::vector<QueuedJob> queued, FindInQueue(numbers));
  std::vector<Row> rows;
  for (const QueuedJob& job : queued) rows.push_back({job, roles[job.number], 1});
  return rows;
}

// Sixty-four workers that wait for the same reason are one line.
std::vector<Row> Folded(const std::vector<Row>& rows) {
  std::vector<Row> folded;
  for (const Row& row : rows) {
    const bool same = !folded.empty() && folded.back().job.number == row.job.number &&
                      folded.back().job.state == row.job.state && folded.back().job.reason == row.job.reason;
    if (same) {
      ++folded.back().tasks;
    } else {
      folded.push_back(row);
    }
  }
  return folded;
}

std::string TrialsText(const OrderedJson& study) {
  std::string text;
  const auto found = study.find("trials_by_state");
  if (found == study.end() || !found->is_object()) return text;
  for (const auto& [state, count] : found->items()) {
    text += absl::StrFormat("%s%s %s", text.empty() ? "" : ", ", count.dump(), state);
  }
  return text;
}

std::string StudyText(const KnownStudy& known) {
  std::string text =
      known.study.value("name", std::string()) + " is " + known.study.value("state", std::string());
  const std::string message = known.study.value("message", std::string());
  if (!message.empty()) text += ": " + message;
  const std::string trials = TrialsText(known.study);
  if (!trials.empty()) text += "; trials: " + trials;
  text = Printable(text) + "\n";
  if (known.age.has_value()) {
    text += "No coordinator answers; this was written " + DurationText(*known.age) + " ago.\n";
  }
  return text;
}

std::string JobLog(const StateDir& dir, int64_t job) {
  return absl::StrFormat("%s/slurm-%d.log", dir.logs(), job);
}

absl::Status ShowOne(Context& context, const StateDir& dir, const std::string& study, OrderedJson& list) {
  RUNG_ASSIGN_OR_RETURN(const KnownStudy known, LookAtStudy(dir, study, context.clock));
  const absl::StatusOr<std::vector<Row>> rows = Rows(dir, study);
  const bool waits_for_nobody = rows.ok() && rows->empty() && !known.over;
  const std::optional<EndedJob> ended = waits_for_nobody ? LastEndedJob(NotedJobs(dir, study)) : std::nullopt;
  if (context.format == Format::kJson) {
    OrderedJson json = {{"name", study}, {"study", known.study}};
    json["coordinator_answers"] = !known.age.has_value();
    json["age_seconds"] =
        known.age.has_value() ? OrderedJson(absl::ToDoubleSeconds(*known.age)) : OrderedJson(nullptr);
    json["jobs"] = rows.ok() ? OrderedJson::array() : OrderedJson(nullptr);
    if (rows.ok()) {
      for (const Row& row : *rows) json["jobs"].push_back(RowJson(row));
    }
    json["last_job"] = ended ? OrderedJson({{"job", ended->number},
                                            {"state", ended->state},
                                            {"exit_code", ended->exit_code},
                                            {"log", JobLog(dir, ended->number)}})
                             : OrderedJson(nullptr);
    list.push_back(std::move(json));
    return absl::OkStatus();
  }
  PrintText(StudyText(known));
  if (!rows.ok()) {
    PrintNote("the queue cannot be read: " + Printable(std::string(rows.status().message())));
    return absl::OkStatus();
  }
  Table table({"job", "role", "tasks", "state", "start", "ran", "limit", "priority", "why, or where"});
  for (const Row& row : Folded(*rows)) {
    table.AddRow({row.job.id, row.role, std::to_string(row.tasks), row.job.state, row.job.start,
                  row.job.elapsed, row.job.limit, std::to_string(row.job.priority), row.job.reason});
  }
  PrintText(table.empty() ? "None of its jobs is in the queue.\n" : table.Text(context.terminal));
  if (ended) {
    PrintText(absl::StrFormat("The last one, job %d, is %s with exit code %s: see %s\n", ended->number,
                              ended->state, ended->exit_code, JobLog(dir, ended->number)));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Status(Context& context, const StatusFlags& flags) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  if (flags.over) {
    const absl::StatusOr<KnownStudy> known = LookAtStudy(dir, flags.study, context.clock);
    return known.ok() && known->over ? 0 : 1;
  }
  std::vector<std::string> studies = StudiesWithJobs(dir);
  if (!flags.study.empty()) studies = {flags.study};
  OrderedJson list = OrderedJson::array();
  for (const std::string& study : studies) RUNG_RETURN_IF_ERROR(ShowOne(context, dir, study, list));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["studies"] = list;
    PrintJson(json);
  } else if (studies.empty()) {
    PrintNote("no study was submitted from " + dir.root + ": use `rung slurm submit STUDY.json`");
  }
  return 0;
}

}  // namespace

void AddSlurmStatusCommand(CLI::App& slurm, Context& context) {
  CLI::App& command = *slurm.add_subcommand(
      "status", "Show a study's state and its jobs in the queue; works while the coordinator is down");
  command.footer("Example:\n  rung slurm status gnad10");
  const auto flags = std::make_shared<StatusFlags>();  // owners: the parser's callback and the action
  const auto study =
      command.add_option("STUDY", flags->study, "Name of the study (default: all that were submitted here)");
  command
      .add_flag("--over", flags->over,
                "Print nothing; exit 0 if the study is over, 1 if it is not or is not known")
      ->needs(study);
  command.callback(
      [&context, flags] { context.action = [&context, flags] { return Status(context, *flags); }; });
}

}  // namespace rung
