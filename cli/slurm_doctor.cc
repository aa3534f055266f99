// rung slurm doctor: what this cluster has, as far as Slurm tells, whether cluster.env fits it, and the lines
// that a new cluster.env would start with. Exit 9 if something was found. Submits nothing.
#include <sys/statfs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/coordinator_access.h"
#include "cli/finding.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"

namespace rung {
namespace {

struct Partition {
  std::string name;
  bool standard = false;
  bool up = false;
  std::string limit;
  std::set<std::string> gpus;  // "gpu:a100:4"
  int nodes = 0;
};

std::vector<Partition> ReadPartitions(const std::string& text) {
  std::vector<Partition> partitions;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() < 5) continue;
    std::string name = fields[0];
    const bool standard = !name.empty() && name.back() == '*';
    if (standard) name.pop_back();
    if (partitions.empty() || partitions.back().name != name)
      partitions.push_back({name, standard, false, "", {}, 0});
    Partition& partition = partitions.back();
    partition.up = partition.up || fields[1] == "up";
    partition.limit = fields[2];
    if (fields[3] != "(null)") partition.gpus.insert(fields[3].substr(0, fields[3].find('(')));
    partition.nodes += std::atoi(fields[4].c_str());
  }
  return partitions;
}

std::string PartitionText(const Partition& partition) {
  return absl::StrFormat("%s, time limit %s, %s%s%s", Counted(partition.nodes, "node"), partition.limit,
                         partition.gpus.empty() ? "no GPUs" : absl::StrJoin(partition.gpus, " or "),
                         partition.standard ? ", the default" : "", partition.up ? "" : ", DOWN");
}

// A setting of the controller, as `scontrol show config` prints it; empty if it is not there.
std::string Setting(const std::string& config, const std::string& name) {
  for (const absl::string_view line : absl::StrSplit(config, '\n')) {
    const std::vector<std::string> sides = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (sides.size() == 2 && absl::StripAsciiWhitespace(sides[0]) == name)
      return std::string(absl::StripAsciiWhitespace(sides[1]));
  }
  return "";
}

void CheckController(std::vector<Finding>& findings) {
  const absl::StatusOr<std::string> config = RunSlurmTool({"scontrol", "show", "config"});
  if (!config.ok()) {
    const auto detail = GetErrorDetail(config.status()).value_or(ErrorDetail{});
    const bool refused = detail.code == "E0804";  // its mend leads here
    findings.push_back(
        {"controller", Verdict::kFail, detail.message,
         refused ? "Type `scontrol ping`; if no controller answers ask your site" : detail.mend});
    return;
  }
  findings.push_back(
      {"controller", Verdict::kOk,
       absl::StrFormat("%s, Slurm %s", Setting(*config, "ClusterName"), Setting(*config, "SLURM_VERSION")),
       ""});
  if (Setting(*config, "JobRequeue") == "0") {
    findings.push_back({"requeue", Verdict::kOk,
                        "jobs are not queued again unless they ask; Rung's jobs ask (--requeue)", ""});
  }
  const std::string kill_wait = Setting(*config, "KillWait");
  findings.push_back(
      {"after a limit", Verdict::kOk,
       "processes get " + kill_wait + " between SIGTERM and SIGKILL; the warning comes before that", ""});
}

std::vector<Partition> CheckPartitions(std::vector<Finding>& findings) {
  const absl::StatusOr<std::string> text =
      RunSlurmTool({"sinfo", "--noheader", "--format=%P\t%a\t%l\t%G\t%D"});
  if (!text.ok()) return {};
  std::vector<Partition> partitions = ReadPartitions(*text);
  for (const Partition& partition : partitions) {
    findings.push_back({"partition " + partition.name, partition.up ? Verdict::kOk : Verdict::kWarn,
                        PartitionText(partition), partition.up ? "" : "Ask your site, or use another one"});
  }
  return partitions;
}

// The state directory must be seen by login and compute nodes: what surely is not is named.
void CheckSharing(const StateDir& dir, std::vector<Finding>& findings) {
  struct statfs info {};
  if (statfs(dir.root.c_str(), &info) != 0) return;
  constexpr int64_t kTmpfs = 0x01021994;
  constexpr int64_t kOverlay = 0x794c7630;
  const auto type = static_cast<int64_t>(info.f_type);
  const bool temporary = dir.root.rfind("/tmp/", 0) == 0 || dir.root.rfind("/var/tmp/", 0) == 0 ||
                         dir.root.rfind("/dev/shm/", 0) == 0;
  if (type == kTmpfs || type == kOverlay || temporary) {
    findings.push_back({"state directory", Verdict::kWarn, dir.root + " looks like a disk of this host alone",
                        "Give --dir on a file system that login and compute nodes share"});
  } else {
    findings.push_back({"state directory", Verdict::kOk, dir.root, ""});
  }
}

void CheckSite(const SlurmRequest& request, const std::vector<Partition>& partitions,
               std::vector<Finding>& findings) {
  const auto chosen = std::find_if(partitions.begin(), partitions.end(), [&](const Partition& partition) {
    return request.partition.empty() ? partition.standard : partition.name == request.partition;
  });
  if (chosen == partitions.end()) {
    std::vector<std::string> names;
    for (const Partition& partition : partitions) names.push_back(partition.name);
    findings.push_back({"cluster.env", Verdict::kFail,
                        request.partition.empty() ? "the cluster has no default partition"
                                                  : "there is no partition " + request.partition,
                        "Set PARTITION to one of " + absl::StrJoin(names, ", ")});
    return;
  }
  if (request.gpus_per_worker > 0 && chosen->gpus.empty()) {
    findings.push_back({"cluster.env", Verdict::kFail,
                        absl::StrFormat("workers want %d GPUs each, and partition %s has none",
                                        request.gpus_per_worker, chosen->name),
                        "Set PARTITION to one with GPUs, or GPUS_PER_WORKER=0"});
    return;
  }
  findings.push_back({"cluster.env", Verdict::kOk, "fits partition " + chosen->name, ""});
}

// What a person may begin a cluster.env with: the partition that has GPUs, and its limit.
std::string Suggestion(const std::vector<Partition>& partitions) {
  const Partition* best = nullptr;
  for (const Partition& partition : partitions) {
    const bool better = best == nullptr || (!partition.gpus.empty() && best->gpus.empty());
    if (partition.up && better) best = &partition;
  }
  if (best == nullptr) return "";
  std::string text = "PARTITION=" + best->name + "\n";
  if (best->limit != "infinite" && best->limit != "n/a") text += "TIME=" + best->limit + "\n";
  text += best->gpus.empty() ? "GPUS_PER_WORKER=0\n" : "GPUS_PER_WORKER=1\n";
  return text;
}

absl::StatusOr<int> Doctor(Context& context, const SiteFlags& flags) {
  std::vector<Finding> findings;
  CheckController(findings);
  std::vector<Partition> partitions;
  if (findings.back().verdict != Verdict::kFail) partitions = CheckPartitions(findings);
  const std::optional<StateDir> dir = FindStateDir(context.dir_flag);
  const bool there = dir.has_value() && std::filesystem::is_directory(dir->root);
  if (there) CheckSharing(*dir, findings);
  if (!partitions.empty()) {
    const absl::StatusOr<SlurmRequest> request =
        SiteRequest(flags, there ? *dir : StateDir{AbsolutePath(".")});
    if (request.ok()) {
      CheckSite(*request, partitions, findings);
    } else {
      const auto detail = GetErrorDetail(request.status()).value_or(ErrorDetail{});
      findings.push_back(
          {"cluster.env", Verdict::kFail, detail.message + " (" + detail.where + ")", detail.mend});
    }
  }
  const std::string suggestion = Suggestion(partitions);
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
