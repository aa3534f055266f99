#include "cli/slurm_cluster.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/output.h"

namespace rung {
namespace {

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, ',', absl::SkipEmpty());
}

// "gpu:a100:4(S:0-1),nvme:1" -> "gpu:a100:4"
std::vector<std::string> Gpus(const std::string& gres) {
  std::vector<std::string> gpus;
  int depth = 0;
  std::string bare;  // without what is in parentheses, which may have commas
  for (const char c : gres) {
    if (c == '(') ++depth;
    if (depth == 0) bare += c;
    if (c == ')') --depth;
  }
  for (const std::string& word : Words(bare)) {
    if (word == "gpu" || word.rfind("gpu:", 0) == 0) gpus.push_back(word);
  }
  return gpus;
}

// "gpu:a100:4" -> "a100"; "gpu:4" has none.
std::string TypeOf(const std::string& gpu) {
  const std::vector<std::string> parts = absl::StrSplit(gpu, ':');
  const bool typed = parts.size() >= 2 && parts[1].find_first_not_of("0123456789") != std::string::npos;
  return typed ? parts[1] : "";
}

// The value of KEY=VALUE among blanks; "" if it is not there or says nothing.
std::string Field(const std::string& line, const std::string& key) {
  for (const absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    if (absl::StartsWith(word, key + "=")) return std::string(word.substr(key.size() + 1));
  }
  return "";
}

std::vector<std::string> Allowed(const std::string& line, const std::string& key) {
  const std::string value = Field(line, key);
  return value == "ALL" || value == "N/A" || value == "(null)" ? std::vector<std::string>{} : Words(value);
}

// Of both where both say something, else of the one that does.
std::vector<std::string> Shared(const std::vector<std::string>& allowed,
                                const std::vector<std::string>& own) {
  if (allowed.empty()) return own;
  if (own.empty()) return allowed;
  std::vector<std::string> both;
  for (const std::string& word : own) {
    if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) both.push_back(word);
  }
  return both;
}

void AddUnique(std::vector<std::string>& list, const std::string& word) {
  if (!word.empty() && std::find(list.begin(), list.end(), word) == list.end()) list.push_back(word);
}

// One value is set, several are shown.
std::string Line(const std::string& key, const std::vector<std::string>& choices) {
  if (choices.empty()) return "";
  if (choices.size() == 1) return key + "=" + choices.front() + "\n";
  return "# " + key + ": one of " + absl::StrJoin(choices, ", ") + "\n#" + key + "=" + choices.front() + "\n";
}

}  // namespace

std::vector<Partition> ReadPartitions(const std::string& sinfo) {
  std::vector<Partition> partitions;
  for (const absl::string_view line : absl::StrSplit(sinfo, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() < 6) continue;
    std::string name = fields[0];
    const bool standard = !name.empty() && name.back() == '*';
    if (standard) name.pop_back();
    if (partitions.empty() || partitions.back().name != name) {
      partitions.emplace_back();
      partitions.back().name = name;
      partitions.back().standard = standard;
    }
    Partition& partition = partitions.back();
    partition.up = partition.up || fields[1] == "up";
    partition.limit = fields[2];
    for (const std::string& gpu : Gpus(fields[3])) partition.gpus.insert(gpu);
    partition.nodes += std::atoi(fields[4].c_str());
    if (fields[5] == "(null)") continue;
    for (const std::string& feature : Words(fields[5])) partition.features.insert(feature);
  }
  return partitions;
}

void AddRules(const std::string& scontrol, std::vector<Partition>& partitions) {
  for (const absl::string_view text : absl::StrSplit(scontrol, '\n', absl::SkipEmpty())) {
    const std::string line(text);
    const std::string name = Field(line, "PartitionName");
    for (Partition& partition : partitions) {
      if (partition.name != name) continue;
      partition.accounts = Allowed(line, "AllowAccounts");
      partition.qos = Allowed(line, "AllowQos");
      const std::string grace = Field(line, "GraceTime");
      const std::string mode = Field(line, "PreemptMode");
      partition.pre_empted_with_grace = !grace.empty() && grace != "0" && mode != "OFF";
    }
  }
}

std::vector<Association> ReadAssociations(const std::string& sacctmgr) {
  std::vector<Association> associations;
  for (const absl::string_view line : absl::StrSplit(sacctmgr, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> fields = absl::StrSplit(line, '|');
    if (fields.size() < 4 || fields[0].empty()) continue;
    associations.push_back({fields[0], fields[1], Words(fields[2]), fields[3]});
  }
  return associations;
}

std::string Setting(const std::string& config, const std::string& name) {
  for (const absl::string_view line : absl::StrSplit(config, '\n')) {
    const std::vector<std::string> sides = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (sides.size() == 2 && absl::StripAsciiWhitespace(sides[0]) == name)
      return std::string(absl::StripAsciiWhitespace(sides[1]));
  }
  return "";
}

Finding CheckSite(const SlurmRequest& request, const std::vector<Partition>& partitions) {
  const auto chosen = std::find_if(partitions.begin(), partitions.end(), [&](const Partition& partition) {
    return request.partition.empty() ? partition.standard : partition.name == request.partition;
  });
  if (chosen == partitions.end()) {
    std::vector<std::string> names;
    for (const Partition& partition : partitions) names.push_back(partition.name);
    return {"cluster.env", Verdict::kFail,
            request.partition.empty() ? "the cluster has no default partition"
                                      : "there is no partition " + request.partition,
            "Set PARTITION to one of " + absl::StrJoin(names, ", ")};
  }
  const std::string type = request.gres == "gpu" ? "" : request.gres.substr(4);
  const bool has = std::any_of(chosen->gpus.begin(), chosen->gpus.end(),
                               [&](const std::string& gpu) { return type.empty() || TypeOf(gpu) == type; });
  if (request.gpus_per_worker > 0 && !has) {
    return {
        "cluster.env", Verdict::kFail,
        absl::StrFormat("workers want %s each, and partition %s has none",
                        Counted(request.gpus_per_worker, type.empty() ? "GPU" : type + " GPU"), chosen->name),
        chosen->gpus.empty() ? "Set PARTITION to one with GPUs, or GPUS_PER_WORKER=0"
                             : "It has " + absl::StrJoin(chosen->gpus, ", ") + ": correct GRES"};
  }
  return {"cluster.env", Verdict::kOk, "fits partition " + chosen->name, ""};
}

std::vector<Finding> CheckPreemption(const std::string& config, const std::vector<Partition>& partitions) {
  const std::string type = Setting(config, "PreemptType");
  const bool told = absl::StrContains(Setting(config, "SchedulerParameters"), "send_user_signal") ||
                    absl::StrContains(Setting(config, "PreemptParameters"), "send_user_signal");
  if (type.empty() || type == "preempt/none" || type == "(null)" || told) return {};
  std::vector<Finding> findings;
  for (const Partition& partition : partitions) {
    if (!partition.pre_empted_with_grace) continue;
    findings.push_back({"pre-emption in " + partition.name, Verdict::kWarn,
                        "jobs get a time of grace and no warning: workers of arrays lose what they trained "
                        "since their last checkpoint",
                        "Ask your site for SchedulerParameters=preempt_send_user_signal, or submit without "
                        "--elastic"});
  }
  return findings;
}

std::string SuggestedClusterEnv(const std::vector<Partition>& partitions,
                                const std::vector<Association>& associations) {
  const Partition* best = nullptr;
  for (const Partition& partition : partitions) {
    const bool better = best == nullptr || (!partition.gpus.empty() && best->gpus.empty());
    if (partition.up && better) best = &partition;
  }
  if (best == nullptr) return "";
  std::vector<std::string> accounts, qos, types;
  for (const Association& own : associations) {
    if (!own.partition.empty() && own.partition != best->name) continue;
    AddUnique(accounts, own.account);
    AddUnique(qos, own.default_qos);
    for (const std::string& each : own.qos) AddUnique(qos, each);
  }
  for (const std::string& gpu : best->gpus) AddUnique(types, TypeOf(gpu).empty() ? "" : "gpu:" + TypeOf(gpu));
  std::string text = "PARTITION=" + best->name + "\n";
  if (best->limit != "infinite" && best->limit != "n/a") text += "TIME=" + best->limit + "\n";
  text += Line("ACCOUNT", Shared(best->accounts, accounts));
  text += Line("QOS", Shared(best->qos, qos));
  text += best->gpus.empty() ? "GPUS_PER_WORKER=0\n" : "GPUS_PER_WORKER=1\n";
  if (types.size() > 1) text += Line("GRES", types);
  const std::vector<std::string> features(best->features.begin(), best->features.end());
  if (features.size() > 1) text += Line("CONSTRAINT", features);  // one that all nodes have chooses nothing
  return text;
}

}  // namespace rung
