#include "cli/slurm_cluster.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"

namespace rung {
namespace {

// As Slurm 22.05 prints them.
constexpr char kSinfo[] =
    "cpu*\tup\t1-00:00:00\tnvme:1\t12\tskylake\n"
    "cpu*\tup\t1-00:00:00\t(null)\t4\tskylake,ib\n"
    "gpu\tup\t8:00:00\tgpu:a100:4(S:0,1),nvme:1\t6\ta100,ib\n"
    "gpu\tup\t8:00:00\tgpu:v100:2(S:0)\t2\tv100\n"
    "old\tdown\tinfinite\tgpu:2\t1\t(null)\n";
constexpr char kPartitions[] =
    "PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES GraceTime=0 "
    "PreemptMode=OFF\n"
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=vision,text DenyQos=none AllowQos=normal,long "
    "GraceTime=60 MaxTime=08:00:00 PreemptMode=REQUEUE State=UP\n";
constexpr char kConfig[] =
    "Configuration data as of 2026-01-02T03:04:05\n"
    "PreemptMode             = REQUEUE\n"
    "PreemptType             = preempt/partition_prio\n"
    "SchedulerParameters     = bf_interval=1%s\n";

std::vector<Partition> Cluster() {
  std::vector<Partition> partitions = ReadPartitions(kSinfo);
  AddRules(kPartitions, partitions);
  return partitions;
}

TEST_CASE("of generic resources only GPUs are GPUs") {
  const std::vector<Partition> partitions = Cluster();
  REQUIRE(partitions.size() == 3);
  CHECK(partitions[0].name == "cpu");
  CHECK(partitions[0].standard);
  CHECK(partitions[0].gpus.empty());
  CHECK(partitions[0].nodes == 16);
  CHECK(partitions[0].features == std::set<std::string>{"ib", "skylake"});
  CHECK(partitions[1].gpus == std::set<std::string>{"gpu:a100:4", "gpu:v100:2"});
  CHECK(partitions[1].accounts == std::vector<std::string>{"vision", "text"});
  CHECK(partitions[1].qos == std::vector<std::string>{"normal", "long"});
  CHECK(partitions[1].pre_empted_with_grace);
  CHECK(partitions[2].gpus == std::set<std::string>{"gpu:2"});
  CHECK_FALSE(partitions[2].up);
  CHECK(partitions[2].features.empty());
}

TEST_CASE("a cluster.env begins with what the user may use") {
  CHECK(SuggestedClusterEnv(Cluster(), {}) ==
        "PARTITION=gpu\nTIME=8:00:00\n# ACCOUNT: one of vision, text\n#ACCOUNT=vision\n"
        "# QOS: one of normal, long\n#QOS=normal\nGPUS_PER_WORKER=1\n"
        "# GRES: one of gpu:a100, gpu:v100\n#GRES=gpu:a100\n"
        "# CONSTRAINT: one of a100, ib, v100\n#CONSTRAINT=a100\n");
  // The accounting leaves one account and one QOS.
  const std::vector<Association> own =
      ReadAssociations("text||long,huge|long\nmath||normal|normal\ntext|cpu|normal|normal\n\n");
  REQUIRE(own.size() == 3);
  CHECK(own[2].partition == "cpu");
  const std::string text = SuggestedClusterEnv(Cluster(), {own[0], own[2]});
  INFO(text);
  CHECK(text.find("\nACCOUNT=text\nQOS=long\n") != std::string::npos);
  // Where nothing is restricted the default of the user comes first.
  std::vector<Partition> open = ReadPartitions("all*\tup\tinfinite\t(null)\t3\tx\n");
  CHECK(SuggestedClusterEnv(open, {{"math", "", {"normal", "long"}, "long"}}) ==
        "PARTITION=all\nACCOUNT=math\n# QOS: one of long, normal\n#QOS=long\nGPUS_PER_WORKER=0\n");
  CHECK(SuggestedClusterEnv({}, {}).empty());
}

TEST_CASE("what does not fit a partition is named with the mend") {
  SlurmRequest request;
  request.gpus_per_worker = 1;
  Finding finding = CheckSite(request, Cluster());  // the default partition
  CHECK(finding.verdict == Verdict::kFail);
  CHECK(finding.what == "workers want 1 GPU each, and partition cpu has none");
  request.partition = "gpu";
  CHECK(CheckSite(request, Cluster()).verdict == Verdict::kOk);
  request.gres = "gpu:v100";
  CHECK(CheckSite(request, Cluster()).verdict == Verdict::kOk);
  request.gres = "gpu:h100";
  finding = CheckSite(request, Cluster());
  CHECK(finding.verdict == Verdict::kFail);
  CHECK(finding.mend == "It has gpu:a100:4, gpu:v100:2: correct GRES");
  request.partition = "nowhere";
  CHECK(CheckSite(request, Cluster()).mend == "Set PARTITION to one of cpu, gpu, old");
}

TEST_CASE("grace without the warning is worth a warning") {
  const std::string silent = absl::StrFormat(kConfig, "");
  const std::vector<Finding> findings = CheckPreemption(silent, Cluster());
  REQUIRE(findings.size() == 1);
  CHECK(findings[0].check == "pre-emption in gpu");
  CHECK(findings[0].verdict == Verdict::kWarn);
  CHECK(findings[0].mend.find("preempt_send_user_signal") != std::string::npos);
  CHECK(CheckPreemption(absl::StrFormat(kConfig, ",preempt_send_user_signal"), Cluster()).empty());
  CHECK(CheckPreemption("PreemptType = preempt/none\n", Cluster()).empty());
  CHECK(CheckPreemption("", Cluster()).empty());
}

}  // namespace
}  // namespace rung
