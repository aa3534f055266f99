#include "cli/slurm_job.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <tuple>
#include <utility>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/status.h"
#include "cli/slurm_tools.h"
#include "tests/scratch.h"

namespace rung {
namespace {

SlurmJob SmallJob() {
  SlurmJob job;
  job.study_name = "spam";
  job.state_dir = "/scratch/me/.rung";
  job.programs = "/opt/rung/bin";
  job.workers = 3;
  return job;
}

std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail.has_value() ? detail->code : "";
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("the script asks for one task per worker and can be requeued") {
  SlurmJob job = SmallJob();
  job.request.cpus_per_worker = 4;
  job.request.memory_per_worker = "10G";
  job.request.partition = "gpu";
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  CHECK(script->rfind("#!/bin/bash\n", 0) == 0);
  for (const char* line :
       {"#SBATCH --ntasks=3\n", "#SBATCH --cpus-per-task=4\n", "#SBATCH --gpus-per-task=1\n",
        "#SBATCH --mem-per-cpu=2560M\n", "#SBATCH --partition=gpu\n", "#SBATCH --requeue\n",
        "#SBATCH --open-mode=append\n", "#SBATCH --signal=B:USR1@120\n", "state_dir='/scratch/me/.rung'\n",
        "programs='/opt/rung/bin'\n"}) {
    INFO(line);
    CHECK(Has(*script, line));
  }
  CHECK_FALSE(Has(*script, "--account"));
}

TEST_CASE("the coordinator takes a port that is free, and no worker is started after a guessed time") {
  const auto script = JobScript(SmallJob());
  REQUIRE(script.ok());
  const size_t coordinator = script->find("\n  srun ");
  REQUIRE(coordinator != std::string::npos);
  const size_t workers = script->find("\n  srun ", coordinator + 1);
  REQUIRE(workers != std::string::npos);
  CHECK(Has(script->substr(coordinator, workers - coordinator),
            "/rungd\" --dir \"$state_dir\" --listen auto "));
  const size_t begin = script->find("\nset -u\n");
  REQUIRE(begin < coordinator);
  CHECK_FALSE(Has(script->substr(begin, workers - begin), "sleep "));
}

TEST_CASE("sbatch is asked with the script's own options whether it would take it") {
  SlurmJob job = SmallJob();
  job.request.partition = "gpu";
  const std::vector<std::string> arguments = TestArguments(*JobScript(job));
  CHECK(arguments.front() == "--test-only");
  CHECK(arguments.back() == "--wrap=true");
  for (const char* option : {"--partition=gpu", "--ntasks=3", "--gpus-per-task=1", "--requeue",
                             "--output=/scratch/me/.rung/logs/slurm-%j.log"}) {
    INFO(option);
    CHECK(std::count(arguments.begin(), arguments.end(), option) == 1);
  }
}

TEST_CASE("without GPUs none is asked for") {
  SlurmJob job = SmallJob();
  job.request.gpus_per_worker = 0;
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  CHECK_FALSE(Has(*script, "#SBATCH --gpus"));
  CHECK(Has(*script, "gpus_per_worker=0\n"));
}

TEST_CASE("trials that share a GPU get their cores and memory each") {
  SlurmJob job = SmallJob();
  job.request.cpus_per_worker = 4;
  job.request.memory_per_worker = "10G";
  job.request.trials_per_gpu = 3;
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  for (const char* line : {"#SBATCH --ntasks=3\n", "#SBATCH --cpus-per-task=12\n",
                           "#SBATCH --mem-per-cpu=2560M\n", "trials_per_gpu=3\n", "cpus_per_task=12\n"}) {
    INFO(line);
    CHECK(Has(*script, line));
  }
  job.request.gpus_per_worker = 0;
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
  job.request.gpus_per_worker = 1;
  job.request.trials_per_gpu = 0;
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
}

TEST_CASE("a coordinator's job takes one core and no GPU, its workers are an array") {
  SlurmJob job = SmallJob();
  job.request.cpus_per_worker = 4;
  job.request.constraint = "a100";
  job.shape = JobShape::kCoordinator;
  const auto coordinator = JobScript(job);
  REQUIRE(coordinator.ok());
  CHECK(Has(*coordinator, "#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=1\n"));
  CHECK_FALSE(Has(*coordinator, "--gpus-per-task"));
  CHECK_FALSE(Has(*coordinator, "#SBATCH --constraint"));
  CHECK(job.script_path() == "/scratch/me/.rung/slurm/spam-coordinator.sh");
  job.shape = JobShape::kWorkers;
  const auto workers = JobScript(job);
  REQUIRE(workers.ok());
  for (const char* line : {"#SBATCH --array=0-2\n", "#SBATCH --ntasks=1\n", "#SBATCH --cpus-per-task=4\n",
                           "#SBATCH --gpus-per-task=1\n", "#SBATCH --constraint=a100\n",
                           "/logs/slurm-%A_%a.log", "idle_minutes=10\n", "study='spam'\n"}) {
    INFO(line);
    CHECK(Has(*workers, line));
  }
  CHECK(job.jobs_path() == "/scratch/me/.rung/slurm/spam.jobs");
}

TEST_CASE("trials share the GPU of an elastic worker too") {
  SlurmJob job = SmallJob();
  job.shape = JobShape::kWorkers;
  job.request.cpus_per_worker = 4;
  job.request.trials_per_gpu = 3;
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  for (const char* line : {"#SBATCH --ntasks=1\n", "#SBATCH --cpus-per-task=12\n", "trials_per_gpu=3\n",
                           "run_workers \"slurm-$job_id\"\n"}) {
    INFO(line);
    CHECK(Has(*script, line));
  }
}

TEST_CASE("workers leave before the warning finds them at work, and when they find no work") {
  SlurmJob job = SmallJob();
  job.request.warning_seconds = 300;
  job.request.idle_minutes = 7;
  for (const JobShape shape : {JobShape::kOneJob, JobShape::kWorkers}) {
    job.shape = shape;
    const auto script = JobScript(job);
    REQUIRE(script.ok());
    CHECK(Has(*script, "#SBATCH --signal=B:USR1@300\n"));
    CHECK(Has(*script, "leave_seconds=360\n"));
    CHECK(Has(*script, "idle_minutes=7\n"));
  }
  job.shape = JobShape::kCoordinator;
  CHECK(Has(*JobScript(job), "idle_minutes=7\n"));
  CHECK(Has(*JobScript(job), "--workers-within \"${idle_minutes}m\""));
}

TEST_CASE("the warning's signal is the site's choice, but none that means something else") {
  SlurmJob job = SmallJob();
  job.request.signal = "HUP";
  for (const JobShape shape : {JobShape::kOneJob, JobShape::kCoordinator, JobShape::kWorkers}) {
    job.shape = shape;
    const auto script = JobScript(job);
    REQUIRE(script.ok());
    CHECK(Has(*script, "#SBATCH --signal=B:HUP@120\n"));
    CHECK(Has(*script, "warning_signal=HUP\n"));
    CHECK(Has(*script, "trap 'asked requeue' \"$warning_signal\"\n"));
  }
  for (const char* signal : {"USR2", "TERM", "KILL", "10", ""}) {
    job.request.signal = signal;
    CHECK(CodeOf(JobScript(job).status()) == "E0802");
  }
}

TEST_CASE("GPUs are asked for by the site's name") {
  SlurmJob job = SmallJob();
  job.request.gres = "gpu:a100";
  job.request.gpus_per_worker = 2;
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  CHECK(Has(*script, "#SBATCH --gpus-per-task=a100:2\n"));
  CHECK(Has(*script, "gpus_per_worker=2\n"));
  job.request.gres = "dcu";
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
}

TEST_CASE("what sbatch is told is one list, for the submission and for what --dry-run prints") {
  CHECK(SubmitArguments(SmallJob(), {"--dependency=after:17"}) ==
        std::vector<std::string>{"--parsable", "--dependency=after:17", "/scratch/me/.rung/slurm/spam.sh"});
}

// The part of a worker's script that comes before what the job does, and then some lines; what bash says.
std::pair<int, std::string> RunBeginning(const SlurmJob& job, const Scratch& scratch,
                                         const std::string& lines) {
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  const std::string text = script->substr(0, script->find("\nset -u\n")) + "\n" + lines;
  const std::string path = scratch.Script("job.sh", text);
  const std::string command =
      "env -u BASH_ENV SLURMD_NODENAME=node7 SLURM_JOB_ID=5 MODULESHOME=" + scratch.root() + " bash " + path +
      " > " + scratch.path("said") + " 2>&1";
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), *ReadFile(scratch.path("said"))};
}

TEST_CASE("modules are loaded where the shell has to be told what `module` is; one that fails ends the job") {
  const Scratch scratch;
  std::filesystem::create_directories(scratch.path("init"));
  REQUIRE(WriteFileAtomic(scratch.path("init/bash"),
                          "module() { echo \"module $*\"; [ \"$2\" != 'cuda/99' ]; }\n")
              .ok());
  SlurmJob job = SmallJob();
  job.shape = JobShape::kWorkers;
  job.request.modules = {"gcc/12", "cuda/12"};
  auto [code, said] = RunBeginning(job, scratch, "echo ready\n");
  CHECK(code == 0);
  CHECK(said == "module load gcc/12\nmodule load cuda/12\nready\n");
  job.request.modules = {"cuda/99", "gcc/12"};
  std::tie(code, said) = RunBeginning(job, scratch, "echo ready\n");
  CHECK(code == 1);
  CHECK(said ==
        "module load cuda/99\nthe module cuda/99 does not load on node7: correct MODULES in cluster.env\n");
  std::filesystem::remove(scratch.path("init/bash"));
  std::tie(code, said) = RunBeginning(job, scratch, "echo ready\n");
  CHECK(code == 1);
  CHECK(Has(said, "the module cuda/99 does not load"));
}

TEST_CASE("a task starts the workers that share its GPUs and ends with the worst of their codes") {
  const Scratch scratch;
  scratch.Script("rung-worker", "#!/bin/sh\necho \"$*\"\ncase \"$4\" in 3.2) exit 85 ;; esac\n");
  SlurmJob job = SmallJob();
  job.shape = JobShape::kWorkers;
  job.programs = scratch.root();
  job.request.trials_per_gpu = 2;
  auto [code, said] = RunBeginning(job, scratch, "on_misfit=:\nrun_workers 3\n");
  CHECK(code == 85);
  for (const char* slot : {"3.1", "3.2"}) {
    INFO(said);
    CHECK(Has(said, std::string("--dir /scratch/me/.rung --slot ") + slot +
                        " --exit-when-done --idle-exit 10m --endpoint-wait 10m --leave-margin 180s "
                        "--gpus 1 --trials-per-gpu 2\n"));
  }
  // In an image, and with the drivers of its node's GPUs.
  scratch.Script("apptainer", "#!/bin/sh\necho \"apptainer $*\"\n");
  job.request.trials_per_gpu = 1;
  job.request.image = "/sw/rung.sif";
  std::tie(code, said) = RunBeginning(job, scratch,
                                      "PATH=" + scratch.root() +
                                          ":$PATH\nSLURM_JOB_END_TIME=1\n"
                                          "on_misfit=:\nrun_workers 3\n");
  CHECK(code == 0);
  CHECK(Has(said, "apptainer exec --bind /scratch/me/.rung --bind " + scratch.root() + " --nv /sw/rung.sif " +
                      scratch.root() + "/rung-worker --dir /scratch/me/.rung --slot 3 "));
}

TEST_CASE("what is asked of a job is passed on once, and how that ended is known") {
  const Scratch scratch;
  SlurmJob job = SmallJob();
  job.shape = JobShape::kWorkers;
  const auto [code, said] =
      RunBeginning(job, scratch,
                   "run_until_asked TERM bash -c 'trap \"echo told; exit 7\" TERM; kill -USR2 $PPID; while "
                   ":; do :; done'\n"
                   "echo \"$ask $code\"\n"
                   "ask=\nrun_until_asked TERM bash -c 'exit 3'\necho \"$ask $code\"\n"
                   "scontrol() { echo \"scontrol $*\"; return 1; }\nrequeue 'submit again'\n");
  CHECK(code == 1);
  CHECK(Has(said, "told\nleave 7\n 3\nscontrol requeue 5\n"));
  CHECK(Has(said, " job 5 the requeue failed; submit again\n"));
}

TEST_CASE("what is asked while modules load, or while workers start, is not lost") {
  const Scratch scratch;
  scratch.Script("setup.sh", "kill -USR2 $$\n");
  scratch.Script("rung-worker",
                 "#!/bin/bash\ntrap 'echo \"$4 told\"; exit 9' TERM\nfor i in {1..100}; do sleep .1; done\n");
  SlurmJob job = SmallJob();
  job.shape = JobShape::kWorkers;
  job.programs = scratch.root();
  job.request.trials_per_gpu = 3;
  job.request.setup = scratch.path("setup.sh");
  auto [code, said] = RunBeginning(job, scratch, "echo \"$ask\"\n");
  CHECK(said == "leave\n");
  // The shell of the workers is told between its first worker and its second.
  job.request.setup = "";
  std::tie(code, said) = RunBeginning(
      job, scratch,
      "on_misfit=:\nseq() { echo 1; sleep .5; kill -TERM $$; echo 2; echo 3; }\nrun_workers 7\n");
  INFO(said);
  CHECK((code == 9 || code == 143));  // by its own trap, or before it had one
  CHECK(!Has(said, "7.4"));
}

TEST_CASE("a script of the site that is not there ends the job") {
  const Scratch scratch;
  SlurmJob job = SmallJob();
  job.request.setup = scratch.path("nowhere.sh");
  const auto [code, said] = RunBeginning(job, scratch, "echo ready\n");
  CHECK(code == 1);
  CHECK(said == "the script " + scratch.path("nowhere.sh") +
                    " cannot be read on node7: correct SETUP in cluster.env\n");
}

TEST_CASE("workers that left within a minute of the start are not queued again") {
  const Scratch scratch;
  const SlurmJob job = SmallJob();
  auto [code, said] = RunBeginning(
      job, scratch,
      "workers_began=0; worth_a_requeue job; echo $?\nSECONDS=31\nworth_a_requeue job; echo $?\n");
  CHECK(code == 0);
  CHECK(Has(said,
            "the time limit is too short for one attempt: workers leave 180 s before the end "
            "(WARNING_SECONDS + 60). "
            "Give the job more --time\n1\n0\n"));
}

// The whole script of an elastic coordinator among stand-ins for Rung's and Slurm's programs; its code, and
// what it said.
std::pair<int, std::string> RunCoordinator(const Scratch& scratch, const std::string& rungd,
                                           const std::string& squeue, bool over = false) {
  SlurmJob job = SmallJob();
  job.shape = JobShape::kCoordinator;
  job.programs = scratch.root();
  job.state_dir = scratch.root();
  scratch.Script("rungd", "#!/bin/bash\necho rungd\nn=$(cat " + scratch.path("count") +
                              " 2>/dev/null); echo $((n + 1)) >" + scratch.path("count") + "\n" + rungd);
  scratch.Script("rung", std::string("#!/bin/bash\n") + (over ? "exit 0\n" : "exit 1\n"));
  scratch.Script("squeue", "#!/bin/bash\n" + squeue);
  std::filesystem::create_directories(scratch.path("slurm"));
  REQUIRE(WriteFileAtomic(job.jobs_path(), "7 coordinator 0\n8 workers 1\n").ok());
  std::filesystem::remove(scratch.path("count"));
  const std::string path = scratch.Script("coordinator.sh", *JobScript(job));
  const std::string command = "env -u BASH_ENV PATH=" + scratch.root() +
                              ":$PATH SLURMD_NODENAME=node7 SLURM_JOB_ID=7 bash " + path + " > " +
                              scratch.path("said") + " 2>&1";
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), *ReadFile(scratch.path("said"))};
}

TEST_CASE("a coordinator that is killed starts again three times, and one that ends early says so") {
  const Scratch scratch;
  auto [code, said] = RunCoordinator(scratch, "kill -KILL $$\n", "exit 0\n");
  CHECK(code == 137);
  CHECK(*ReadFile(scratch.path("count")) == "4\n");
  CHECK(Has(said, "the coordinator failed: see"));
  std::tie(code, said) = RunCoordinator(scratch, "exit 0\n", "exit 0\n");
  CHECK(code == 143);
  CHECK(Has(said, "told to end before the study was done"));
  std::tie(code, said) = RunCoordinator(scratch, "exit 0\n", "exit 0\n", /*over=*/true);
  CHECK(code == 0);
}

TEST_CASE("a coordinator without workers goes on while the queue has some, or cannot be read") {
  const Scratch scratch;
  const std::string twice = "[ $((n + 1)) -lt 3 ] && exit 8\nexit 0\n";
  auto [code, said] = RunCoordinator(scratch, twice, "echo 8\n", /*over=*/true);
  CHECK(code == 0);
  CHECK(Has(said, "the queue has some"));
  std::tie(code, said) = RunCoordinator(scratch, twice, "exit 1\n", /*over=*/true);
  CHECK(code == 0);
  std::tie(code, said) = RunCoordinator(scratch, twice, "echo 9\n");
  CHECK(code == 8);
  CHECK(*ReadFile(scratch.path("count")) == "1\n");
  CHECK(Has(said, "no worker was here or in the queue for 10 minutes"));
}

TEST_CASE("a job knows what comes after its time limit") {
  SlurmJob job = SmallJob();
  CHECK(Has(*JobScript(job), "after_limit=requeue\n"));
  job.after_limit = AfterLimit::kNext;
  CHECK(Has(*JobScript(job), "after_limit=next\n"));
  job.after_limit = AfterLimit::kSuccessor;
  CHECK(Has(*JobScript(job), "after_limit=successor\n"));
}

TEST_CASE("the queue's answer is taken apart") {
  const std::vector<QueuedJob> jobs = ParseQueue(
      "18_[2-3]\tPENDING\t(Resources, now)\tN/A\t0:00\t8:00:00\t42\t18\n"
      "18_1\tRUNNING\tnode1\t2026-01-02T03:04:05\t1:00\t8:00:00\t7\t18\nnonsense\n");
  REQUIRE(jobs.size() == 2);
  CHECK(jobs[0].number == 18);
  CHECK(jobs[0].reason == "(Resources, now)");
  CHECK(jobs[0].priority == 42);
  CHECK(jobs[1].id == "18_1");
  CHECK(jobs[1].number == 18);
  CHECK(jobs[1].state == "RUNNING");
}

QueuedJob QueuedIn(const std::string& id, const std::string& state, const std::string& start,
                   const std::string& elapsed) {
  QueuedJob job;
  job.id = id;
  job.state = state;
  job.start = start;
  job.elapsed = elapsed;
  return job;
}

TEST_CASE("a job whose last start still ends is over, unless it was queued again") {
  CHECK(IsOver(QueuedIn("1", "COMPLETING", "2026-01-02T03:04:05", "0:07")));
  const QueuedJob again = QueuedIn("1", "COMPLETING", "2026-01-02T03:06:05", "0:00");
  CHECK(!IsOver(again));
  CHECK(Waits(again));
  CHECK(!Waits(QueuedIn("1", "RUNNING", "2026-01-02T03:04:05", "0:00")));
  for (const char* state :
       {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"})
    CHECK(IsOver(QueuedIn("1", state, "2026-01-02T03:04:05", "0:07")));
  for (const char* state : {"PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "REQUEUED"})
    CHECK(!IsOver(QueuedIn("1", state, "2026-01-02T03:04:05", "0:07")));
}

TEST_CASE("of a study's workers those leave first that wait, and then the youngest") {
  std::vector<std::string> order;
  for (const QueuedJob& job :
       InOrderOfLeaving({QueuedIn("old", "RUNNING", "2026-01-02T03:00:00", "9:00"),
                         QueuedIn("waits", "PENDING", "2026-01-02T05:00:00", "0:00"),
                         QueuedIn("young", "RUNNING", "2026-01-02T03:08:00", "1:00"),
                         QueuedIn("requeued", "COMPLETING", "2026-01-02T03:09:00", "0:00"),
                         QueuedIn("middle", "RUNNING", "2026-01-02T03:04:00", "5:00")}))
    order.push_back(job.id);
  CHECK(order == std::vector<std::string>{"waits", "requeued", "young", "middle", "old"});
}

TEST_CASE("numbers and times have their ranges, in cluster.env and in a flag") {
  const auto refused = [](const std::string& line) {
    return GetErrorDetail(ParseClusterEnv(line, "cluster.env", {}).status()).value_or(ErrorDetail{});
  };
  CHECK(refused("CPUS_PER_WORKER=2000").mend == "Give a whole number from 1 to 1024");
  CHECK(refused("GPUS_PER_WORKER=5000").where == "cluster.env:1");
  CHECK(refused("TRIALS_PER_GPU=65").code == "E0802");
  for (const char* value : {"banana", "0s", "2h", "60"}) {
    INFO(value);
    CHECK(refused(std::string("LEASE_TTL=") + value).code == "E0802");
  }
  CHECK(ParseClusterEnv("LEASE_TTL=5s\nCPUS_PER_WORKER=1024\n", "cluster.env", {}).ok());
  SlurmJob job = SmallJob();
  job.request.cpus_per_worker = 2000;
  CHECK(GetErrorDetail(JobScript(job).status())->mend == "Give 1 to 1024");
}

TEST_CASE("time limits are read as sbatch reads them, and ones that leave no time to train are refused") {
  const std::vector<std::pair<const char*, int>> seconds = {{"30", 1800},       {"30:10", 1810},
                                                            {"8:00:00", 28800}, {"2-0", 172800},
                                                            {"2-1:30", 178200}, {"0-0:00:05", 5}};
  for (const auto& [text, wanted] : seconds) {
    INFO(text);
    CHECK(ParseTimeLimit(text) == absl::Seconds(wanted));
  }
  CHECK(ParseTimeLimit("UNLIMITED") == absl::InfiniteDuration());
  for (const char* text : {"", "2h", "1:2:3:4", "-5", "1-", "a-1", "1:-2", "99999999"}) {
    INFO(text);
    CHECK(!ParseTimeLimit(text));
  }
  SlurmJob job = SmallJob();
  job.request.time = "3";
  CHECK(Has(GetErrorDetail(JobScript(job).status())->mend, "Workers leave 180 s before the end"));
  job.request.time = "4";
  CHECK(JobScript(job).ok());
  job.request.time = "2h";
  CHECK(Has(GetErrorDetail(JobScript(job).status())->mend, "HH:MM:SS"));
}

TEST_CASE("neither a job nor a program of Slurm is told what the caller's shell sets for them") {
  for (const char* name : {"SLURM_JOB_ID", "SBATCH_TIMELIMIT", "SQUEUE_FORMAT", "SCANCEL_STATE",
                           "SINFO_FORMAT", "SACCT_FORMAT", "SCONTROL_ALL", "SRUN_DEBUG"})
    CHECK(IsSettingOfSlurm(name));
  for (const char* name : {"SLURM_CONF", "PATH", "SLURMY"}) CHECK(!IsSettingOfSlurm(name));
}

TEST_CASE("values that could end an option early are refused") {
  SlurmJob job = SmallJob();
  job.request.partition = "gpu --uid=0";
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
  job = SmallJob();
  job.request.account = "a\n#SBATCH --x";
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
  job = SmallJob();
  job.state_dir = "/scratch/100%j";
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
  job = SmallJob();
  job.workers = 0;
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
  job = SmallJob();
  job.request.pass_env = {"TOKEN=abc"};
  CHECK(CodeOf(JobScript(job).status()) == "E0802");
}

TEST_CASE("paths with blanks stay one word") {
  CHECK(ShellQuoted("it's $HOME") == "'it'\\''s $HOME'");
  SlurmJob job = SmallJob();
  job.state_dir = "/scratch/my study/.rung";
  const auto script = JobScript(job);
  REQUIRE(script.ok());
  CHECK(Has(*script, "state_dir='/scratch/my study/.rung'\n"));
}

TEST_CASE("cluster.env sets what a site wants") {
  const auto request = ParseClusterEnv(
      "# our site\nPARTITION=gpu\nTIME=\"08:00:00\"\n\nGPUS_PER_WORKER=0\nMODULES=cuda/12 "
      "gcc/12\nPASS_ENV=HF_HOME\nGRES=gpu:a100\nSIGNAL=HUP\nWARNING_SECONDS=90\n"
      "WORKSPACE=ws_allocate rung 30\nIMAGE=/sw/rung.sif\n",
      "cluster.env", SlurmRequest{});
  REQUIRE(request.ok());
  CHECK(request->partition == "gpu");
  CHECK(request->time == "08:00:00");
  CHECK(request->gpus_per_worker == 0);
  CHECK(request->modules == std::vector<std::string>{"cuda/12", "gcc/12"});
  CHECK(request->pass_env == std::vector<std::string>{"HF_HOME"});
  CHECK(request->gres == "gpu:a100");
  CHECK(request->signal == "HUP");
  CHECK(request->warning_seconds == 90);
  CHECK(request->workspace == "ws_allocate rung 30");
  CHECK(request->image == "/sw/rung.sif");
}

TEST_CASE("mistakes in cluster.env name the line and the mend") {
  const auto unknown = ParseClusterEnv("\nPARTITON=gpu\n", "cluster.env", SlurmRequest{});
  const auto detail = GetErrorDetail(unknown.status());
  REQUIRE(detail.has_value());
  CHECK(detail->code == "E0801");
  CHECK(detail->where == "cluster.env:2");
  CHECK(Has(detail->mend, "PARTITION"));
  CHECK(CodeOf(ParseClusterEnv("PARTITION", "f", SlurmRequest{}).status()) == "E0801");
  CHECK(CodeOf(ParseClusterEnv("CPUS_PER_WORKER=many", "f", SlurmRequest{}).status()) == "E0802");
  CHECK(CodeOf(ParseClusterEnv("GRES=nvme", "f", SlurmRequest{}).status()) == "E0802");
  CHECK(CodeOf(ParseClusterEnv("SIGNAL=USR2", "f", SlurmRequest{}).status()) == "E0802");
  CHECK(CodeOf(ParseClusterEnv("PARTITION=a b", "f", SlurmRequest{}).status()) == "E0802");
}

TEST_CASE("the job sees neither secrets nor the settings of an outer job") {
  const std::vector<std::string> ours = {
      "PATH=/bin",         "HF_TOKEN=hf_secret",   "SLURM_JOB_ID=7",
      "SLURM_CONF=/etc/s", "SBATCH_ACCOUNT=other", "CUDA_VISIBLE_DEVICES=0",
      "LC_ALL=C.UTF-8",    "AWS_SECRET_KEY=abc",   "HF_HOME=/models"};
  const std::vector<std::string> kept = JobEnvironment(ours, {"HF_HOME"});
  CHECK(kept ==
        std::vector<std::string>{"PATH=/bin", "SLURM_CONF=/etc/s", "LC_ALL=C.UTF-8", "HF_HOME=/models"});
}

}  // namespace
}  // namespace rung
