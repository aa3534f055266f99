// What Slurm's programs say of a cluster, taken apart, and the cluster.env that follows from it. Pure;
// thread-safe.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cli/finding.h"
#include "cli/slurm_job.h"

namespace rung {

struct Partition {
  std::string name;
  bool standard = false;
  bool up = false;
  std::string limit;
  std::set<std::string> gpus;      // "gpu:a100:4"; other generic resources are none
  std::set<std::string> features;  // of its nodes, for --constraint
  int nodes = 0;
  std::vector<std::string> accounts, qos;  // that may use it; empty: all
  bool pre_empted_with_grace = false;
};

// What sinfo prints with this format.
inline constexpr char kSinfoFormat[] = "%P\t%a\t%l\t%G\t%D\t%f";
std::vector<Partition> ReadPartitions(const std::string& sinfo);
// Adds what `scontrol --oneliner show partition` says of them.
void AddRules(const std::string& scontrol, std::vector<Partition>& partitions);

// What the accounting lets this user charge: of `sacctmgr --noheader --parsable2 show associations
// format=Account,Partition,QOS,DefaultQOS`. Empty where there is no accounting.
struct Association {
  std::string account, partition;  // partition: empty for all
  std::vector<std::string> qos;
  std::string default_qos;
};
std::vector<Association> ReadAssociations(const std::string& sacctmgr);

// A setting of the controller, as `scontrol show config` prints it; empty if it is not there.
std::string Setting(const std::string& config, const std::string& name);

// Does the request fit a partition?
Finding CheckSite(const SlurmRequest& request, const std::vector<Partition>& partitions);
// Workers in arrays hear of a pre-emption only where Slurm is told to send the warning then.
std::vector<Finding> CheckPreemption(const std::string& config, const std::vector<Partition>& partitions);

// What a person may begin a cluster.env with: the partition that has GPUs, its limit, who may use it. A line
// that is one choice of several is a remark.
std::string SuggestedClusterEnv(const std::vector<Partition>& partitions,
                                const std::vector<Association>& associations);

}  // namespace rung
