#include "cli/slurm_site.h"

#include <stdlib.h>

#include <catch2/catch.hpp>

#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

QueuedJob Queued(const std::string& id, int64_t number) {
  QueuedJob job;
  job.id = id;
  job.number = number;
  job.state = "PENDING";
  return job;
}

TEST_CASE("a state directory has one set of jobs, whichever study they are for") {
  const StateDir dir{"/scratch/me/.rung"};
  const std::map<std::string, std::vector<NotedJob>> noted = {
      {"spam", {{17, "job", 4}}}, {"news", {{20, "coordinator", 0}, {21, "workers", 1}}}};
  CHECK(RefuseSecondJob({}, noted, "spam", dir, " --dir D").ok());
  CHECK(RefuseSecondJob({Queued("99", 99)}, noted, "spam", dir, " --dir D").ok());
  const auto own = GetErrorDetail(RefuseSecondJob({Queued("17", 17)}, noted, "spam", dir, " --dir D"));
  REQUIRE(own.has_value());
  CHECK(own->code == "E0808");
  CHECK(own->message == "the study has jobs in the queue already: 17");
  CHECK(own->mend.find("`rung slurm scale spam --workers N --dir D`") != std::string::npos);
  const auto other = GetErrorDetail(RefuseSecondJob({Queued("21_3", 21)}, noted, "spam", dir, " --dir D"));
  REQUIRE(other.has_value());
  CHECK(other->code == "E0808");
  CHECK(other->message == "study news of this state directory has jobs in the queue: 21_3");
  CHECK(other->where == dir.root);
  CHECK(other->mend.find("--dir") != std::string::npos);
  CHECK(other->mend.find("rung slurm cancel news --dir D") != std::string::npos);
}

TEST_CASE("the list of a study's jobs is read") {
  const std::vector<NotedJob> jobs =
      ParseNotedJobs("17 job 4\n18 workers 1\nnonsense\n19 job many\n20 job\n21 coordinator 0\n");
  REQUIRE(jobs.size() == 3);
  CHECK(jobs[0].number == 17);
  CHECK(jobs[0].workers == 4);
  CHECK(jobs[1].role == "workers");
  CHECK(Numbers(jobs, "") == std::vector<int64_t>{17, 18, 21});
  CHECK(Numbers(jobs, "coordinator") == std::vector<int64_t>{21});
}

TEST_CASE("the time that Slurm gave is that of all workers, in all starts of their jobs") {
  const std::vector<NotedJob> jobs = {{17, "job", 4}, {20, "coordinator", 0}, {21, "workers", 2}};
  CHECK(AllocatedSeconds("17|100\n17|50\n20|900\n21_0|30\n21_[1-7]|0\n", jobs) == 4 * 150 + 2 * 30);
  CHECK(!AllocatedSeconds("", jobs).has_value());
  CHECK(!AllocatedSeconds("20|900\n99|5\n", jobs).has_value());
}

TEST_CASE("the directory of a workspace is the last thing that its command says") {
  CHECK(*MakeWorkspace("printf remaining:%s\\n/tmp\\n 30") == "/tmp");
  for (const char* command :
       {"", "false", "echo", "echo /nowhere/at/all", "echo tmp", "/nowhere/ws_allocate"}) {
    const absl::Status status = MakeWorkspace(command).status();
    const auto detail = GetErrorDetail(status);
    INFO(command);
    REQUIRE(detail.has_value());
    CHECK(detail->code == "E0809");
  }
}

// An sbatch that complains and ends with 1, first in PATH.
class Complaint {
 public:
  explicit Complaint(const std::string& words) {
    scratch_.Script("sbatch", "#!/bin/sh\necho 'allocation failure: " + words + "' >&2\nexit 1\n");
    setenv("PATH", (scratch_.root() + ":" + path_).c_str(), 1);
  }
  ~Complaint() { setenv("PATH", path_.c_str(), 1); }
  Complaint(const Complaint&) = delete;
  Complaint& operator=(const Complaint&) = delete;

 private:
  const Scratch scratch_;
  const std::string path_ = getenv("PATH");
};

TEST_CASE("a job that sbatch would not take is refused, one that only waits is not") {
  SlurmJob job;
  job.study_name = "spam";
  job.state_dir = "/scratch/me/.rung";
  job.programs = "/opt/rung/bin";
  {
    const Complaint sbatch("Requested nodes are busy");
    CHECK(TestJob(job).value() == "");
  }
  {
    const Complaint sbatch("Requested node configuration is not available");
    CHECK(TestJob(job).value() ==
          "sbatch refused: allocation failure: Requested node configuration is not available");
  }
  const Complaint sbatch("Invalid partition name specified");
  const absl::Status refused = TestJob(job).status();
  const auto detail = GetErrorDetail(refused);
  REQUIRE(detail.has_value());
  CHECK(detail->code == "E0804");
  CHECK(ExitCode(refused) == 5);
  CHECK(detail->message == "sbatch refused: allocation failure: Invalid partition name specified");
  CHECK(detail->where == "sbatch --test-only");
}

TEST_CASE("what became of the workers' time is told in words") {
  v1::StudyStatus study;
  study.set_device_seconds(130);
  study.set_lost_seconds(10);
  study.set_idle_seconds(30);
  CHECK(WorkersText(study, std::nullopt) == "2 min 00 s trained, 10 s lost, 30 s idle");
  study.set_running_seconds(20);
  CHECK(WorkersText(study, 240) ==
        "2 min 00 s trained, 20 s running, 10 s lost, 30 s idle, 1 min 00 s unaccounted");
  CHECK(WorkersText(study, 100) ==
        "2 min 00 s trained, 20 s running, 10 s lost, 30 s idle, 0.0 s unaccounted");
  CHECK(StudyJson(study)["running_seconds"] == 20);
}

}  // namespace
}  // namespace rung
