// rung study export S --format csv|jsonl: trials and results as two files.
#include <unistd.h>

#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/exports.h"

namespace rung {
namespace {

struct Options {
  std::string study;
  std::string format = "csv";
  std::string directory = ".";
  bool force = false;
};

absl::Status RefuseExisting(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAlreadyExists,
                   {"E0391", "the file exists already", path, path,
                    "Give --force to write over it, or another directory with --to"});
}

absl::StatusOr<int> Export(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus study, client.FindStudy(options.study));
  RUNG_ASSIGN_OR_RETURN(const StudySpec spec, SpecOf(study));
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::TrialRow> trials, client.ListTrials(study.id()));
  const bool csv = options.format == "csv";
  RUNG_RETURN_IF_ERROR(MakeDirectories(AbsolutePath(options.directory)));
  // A study's name is a safe file name: the coordinator takes no other.
  const std::string stem = AbsolutePath(options.directory) + "/" + study.name();
  const std::string trials_path = stem + "-trials." + options.format;
  const std::string results_path = stem + "-results." + options.format;
  for (const std::string& path : {trials_path, results_path}) {
    if (!options.force) RUNG_RETURN_IF_ERROR(RefuseExisting(path));
  }
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(trials_path, csv ? TrialsCsv(trials, spec) : TrialsJsonl(trials)));
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(results_path, csv ? ResultsCsv(trials) : ResultsJsonl(trials)));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["study"] = study.id();
    json["trials_path"] = trials_path;
    json["results_path"] = results_path;
    PrintJson(json);
  } else {
    PrintText(trials_path + "\n" + results_path + "\n");
  }
  return 0;
}

}  // namespace

void AddStudyExportCommand(CLI::App& study, Context& context) {
  CLI::App& command = *study.add_subcommand("export", "Write trials and results as two files");
  command.footer("Example:\n  rung study export gnad10 --format csv --to exports/");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("STUDY", options->study, "Name or id (may be left out if there is one study)");
  command.add_option("--format", options->format, "csv or jsonl")
      ->required()
      ->check(CLI::IsMember({"csv", "jsonl"}));
  command.add_option("--to", options->directory, "Directory for the files (default: here)");
  command.add_flag("--force", options->force, "Write over files that exist");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Export(context, *options); }; });
}

}  // namespace rung
