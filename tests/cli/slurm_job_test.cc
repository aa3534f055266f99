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
  CHECK(Has(*script, "gpus_per_task='a100:2'\n"));
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
                   "hear_signals leave\n"
                   "run_until_asked TERM bash -c 'trap \"echo told; exit 7\" TERM; kill -USR2 $PPID; while "
                   ":; do :; done'\n"
                   "echo \"$ask $code\"\n"
                   "hear_signals\nrun_until_asked TERM bash -c 'exit 3'\necho \"$ask $code\"\n"
                   "scontrol() { echo \"scontrol $*\"; return 1; }\nrequeue 'submit again'\n");
  CHECK(code == 1);
  CHECK(Has(said, "told\nleave 7\n 3\nscontrol requeue 5\n"));
  CHECK(Has(said, " job 5 the requeue failed; submit again\n"));
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
      "18_[2-3]\t18\tPENDING\t(Resources, now)\tN/A\t0:00\t8:00:00\t42\t18\n"
      "18_1\t19\tRUNNING\tnode1\t2026-01-02T03:04:05\t1:00\t8:00:00\t7\t18\nnonsense\n");
  REQUIRE(jobs.size() == 2);
  CHECK(jobs[0].number == 18);
  CHECK(jobs[0].reason == "(Resources, now)");
  CHECK(jobs[0].priority == 42);
  CHECK(jobs[1].id == "18_1");
  CHECK(jobs[1].number == 18);
  CHECK(jobs[1].state == "RUNNING");
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
