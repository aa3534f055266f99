// rung slurm doctor: what this cluster has, as far as Slurm tells, whether cluster.env fits it, and the lines
// that a new cluster.env would start with. Exit 9 if something was found. Submits nothing.
#include <pwd.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/coordinator_access.h"
#include "cli/finding.h"
#include "cli/slurm_cluster.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_sharing.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"

namespace rung {
namespace {

std::string PartitionText(const Partition& partition) {
  return absl::StrFormat("%s, time limit %s, %s%s%s", Counted(partition.nodes, "node"), partition.limit,
                         partition.gpus.empty() ? "no GPUs" : absl::StrJoin(partition.gpus, " or "),
                         partition.standard ? ", the default" : "", partition.up ? "" : ", DOWN");
}

// What the controller is set to; empty if it does not answer.
std::string CheckController(std::vector<Finding>& findings) {
  const absl::StatusOr<std::string> config = RunSlurmTool({"scontrol", "show", "config"});
  if (!config.ok()) {
    const auto detail = GetErrorDetail(config.status()).value_or(ErrorDetail{});
    const bool refused = detail.code == "E0804";  // its mend leads here
    findings.push_back(
        {"controller", Verdict::kFail, detail.message,
         refused ? "Type `scontrol ping`; if no controller answers ask your site" : detail.mend});
    return "";
  }
  findings.push_back(
      {"controller", Verdict::kOk,
       absl::StrFormat("%s, Slurm %s", Setting(*config, "ClusterName"), Setting(*config, "SLURM_VERSION")),
       ""});
  return *config;
}

std::vector<Partition> CheckPartitions(std::vector<Finding>& findings) {
  const absl::StatusOr<std::string> text =
      RunSlurmTool({"sinfo", "--noheader", std::string("--format=") + kSinfoFormat});
  if (!text.ok()) {
    const auto detail = GetErrorDetail(text.status()).value_or(ErrorDetail{});
    findings.push_back({"partitions", Verdict::kFail, detail.message, detail.mend});
    return {};
  }
  std::vector<Partition> partitions = ReadPartitions(*text);
  if (const auto rules = RunSlurmTool({"scontrol", "--oneliner", "show", "partition"}); rules.ok())
    AddRules(*rules, partitions);
  for (const Partition& partition : partitions) {
    findings.push_back({"partition " + partition.name, partition.up ? Verdict::kOk : Verdict::kWarn,
                        PartitionText(partition), partition.up ? "" : "Ask your site, or use another one"});
  }
  return partitions;
}

// Without an accounting (slurmdbd) sacctmgr fails, and there is nothing to choose.
std::vector<Association> OwnAssociations() {
  const passwd* self = getpwuid(geteuid());
  if (self == nullptr) return {};
  const auto text =
      RunSlurmTool({"sacctmgr", "--noheader", "--parsable2", "show", "associations", "where",
                    std::string("user=") + self->pw_name, "format=Account,Partition,QOS,DefaultQOS"});
  return text.ok() ? ReadAssociations(*text) : std::vector<Association>{};
}

// The mounts that this process sees; without them only the path tells.
Finding CheckStateDir(const StateDir& dir) {
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(dir.root, failed);
  return CheckSharing(failed ? dir.root : real.string(), ReadFile("/proc/self/mountinfo").value_or(""));
}

absl::StatusOr<int> Doctor(Context& context, const SiteFlags& flags) {
  std::vector<Finding> findings;
  const std::string config = CheckController(findings);
  std::vector<Partition> partitions;
  if (!config.empty()) partitions = CheckPartitions(findings);
  for (Finding& finding : CheckPreemption(config, partitions)) findings.push_back(std::move(finding));
  const std::optional<StateDir> dir = FindStateDir(context.dir_flag);
  const bool there = dir.has_value() && std::filesystem::is_directory(dir->root);
  if (there) findings.push_back(CheckStateDir(*dir));
  if (!partitions.empty()) {
    const absl::StatusOr<SlurmRequest> request =
        SiteRequest(flags, there ? *dir : StateDir{AbsolutePath(".")});
    if (request.ok()) {
      findings.push_back(CheckSite(*request, partitions));
    } else {
      const auto detail = GetErrorDetail(request.status()).value_or(ErrorDetail{});
      findings.push_back(
          {"cluster.env", Verdict::kFail, detail.message + " (" + detail.where + ")", detail.mend});
    }
  }
  const std::string suggestion = partitions.empty() ? "" : SuggestedClusterEnv(partitions, OwnAssociations());
  if (context.format == Format::kJson) {
    OrderedJson json = FindingsJson(findings);
    json["cluster_env"] = suggestion;
    PrintJson(json);
  } else {
    PrintText(FindingsText(findings, context.terminal));
    if (!suggestion.empty()) PrintText("\nA cluster.env for this cluster may begin with:\n" + suggestion);
  }
  return HasFindings(findings) ? 9 : 0;
}

}  // namespace

void AddSlurmDoctorCommand(CLI::App& slurm, Context& context) {
  CLI::App& command =
      *slurm.add_subcommand("doctor", "Look what this cluster has and whether cluster.env fits it");
  command.footer("Exit code 9 if something was found.\nExample:\n  rung slurm doctor");
  const auto flags = std::make_shared<SiteFlags>();  // owners: the parser's callback and the action
  AddSiteFlags(command, *flags);
  command.callback(
      [&context, flags] { context.action = [&context, flags] { return Doctor(context, *flags); }; });
}

}  // namespace rung
