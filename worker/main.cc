// rung-worker: leases attempts from the coordinator of a state directory and runs them in trainers.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "proto/daemon_output.h"
#include "proto/endpoint.h"
#include "proto/exit_codes.h"
#include "proto/process_identity.h"
#include "worker/agent.h"
#include "worker/allocation.h"
#include "worker/device.h"
#include "worker/job_time.h"
#include "worker/local_file_system.h"
#include "worker/strays.h"

namespace rung {
namespace {

constexpr absl::Duration kClaimPatience = absl::Seconds(30);
constexpr absl::Duration kClaimAgain = absl::Milliseconds(200);
constexpr absl::Duration kAskSlurmAgain = absl::Minutes(5);

struct Flags {
  std::string dir;
  std::string slot = "0";
  std::string trainer;
  std::string device = "auto";
  std::string idle_exit = "inf";
  std::string endpoint_wait = "60s";
  std::string leave_margin = "60s";
  int gpus = -1;
  int trials_per_gpu = 1;
  bool exit_when_done = false;
  bool die_with_parent = false;
};

absl::Status UsageError(const std::string& message, const std::string& flag, const std::string& value,
                        const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0130", message, flag, value, mend});
}

absl::StatusOr<absl::Duration> ParseDurationFlag(const std::string& flag, const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration >= absl::ZeroDuration()) return duration;
  return UsageError(absl::StrFormat("%s is not a duration", text), flag, text, "Use one like 90s, 10m or 2h");
}

std::string NewInstance() {
  unsigned char bytes[8] = {};
  RUNG_CHECK(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes), "the kernel gives random bytes");
  std::string text;
  for (const unsigned char byte : bytes) text += absl::StrFormat("%02x", byte);
  return text;
}

std::string ProgramDirectory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

std::optional<std::string> VariableIfSet(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}
std::string Variable(const char* name) {
  return VariableIfSet(name).value_or("");
}

// One that just ended on this GPU may take a moment to be gone.
absl::StatusOr<std::optional<GpuClaim>> ClaimGpus(const Flags& flags, Clock& clock) {
  if (flags.gpus < 0) return std::nullopt;
  RUNG_ASSIGN_OR_RETURN(const std::vector<std::string> gpus,
                        AllocatedGpus(flags.gpus, ViewOfSlurm(Variable)));
  const std::string node = Variable("SLURMD_NODENAME") + "@" + ThisProcess().host;
  const absl::Duration until = clock.Steady() + kClaimPatience;
  while (true) {
    absl::StatusOr<GpuClaim> claim = GpuClaim::Take(node, gpus, flags.trials_per_gpu);
    if (claim.ok()) return std::optional<GpuClaim>(*std::move(claim));
    if (clock.Steady() > until) return claim.status();
    usleep(static_cast<useconds_t>(absl::ToInt64Microseconds(kClaimAgain)));
  }
}

absl::StatusOr<AgentOptions> MakeOptions(const Flags& flags, const StateDir& dir, const std::string& name) {
  AgentOptions options;
  RUNG_ASSIGN_OR_RETURN(options.idle_exit, ParseDurationFlag("--idle-exit", flags.idle_exit));
  RUNG_ASSIGN_OR_RETURN(options.link.first_wait, ParseDurationFlag("--endpoint-wait", flags.endpoint_wait));
  RUNG_ASSIGN_OR_RETURN(options.leave_margin, ParseDurationFlag("--leave-margin", flags.leave_margin));
  RUNG_ASSIGN_OR_RETURN(const Device device, ChooseDevice(flags.device, VariableIfSet("CUDA_VISIBLE_DEVICES"),
                                                          "/proc/driver/nvidia/gpus"));
  options.exit_when_done = flags.exit_when_done;
  options.link.dir = dir;
  options.link.identity = {flags.slot, NewInstance(), device.description, Variable("SLURM_JOB_ID")};
  options.trainer.trainer_path =
      flags.trainer.empty() ? ProgramDirectory() + "/rung-trainer" : AbsolutePath(flags.trainer);
  options.trainer.device_environment = device.environment;
  options.trainer.scratch_directory = dir.worker(name);
  options.trainer.end_strays = true;
  options.spool_path = dir.worker(name) + "/spool";
  options.in_vain_path = dir.worker(name) + "/in_vain_seconds";
  options.link.points_path = dir.worker(name) + "/points";
  if (OnLocalFileSystem(dir.root))
    options.resume_patience = absl::ZeroDuration();  // what is not there is gone
  return options;
}

// SIGTERM, SIGINT and SIGUSR1 (Slurm's warning) drain. They are blocked in all threads and taken by this one.
class SignalThread {
 public:
  explicit SignalThread(Agent& agent) : thread_([this, &agent] { Loop(agent); }) {}
  ~SignalThread() {
    ending_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  static sigset_t Signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, number);
    return signals;
  }

 private:
  void Loop(Agent& agent) {
    const sigset_t signals = Signals();
    while (!ending_) {
      int number = 0;
      if (sigwait(&signals, &number) == 0 && !ending_) agent.Drain();
    }
  }

  std::atomic<bool> ending_{false};
  std::thread thread_;
};

absl::Status RunWorker(const Flags& flags, bool* left_for_job_end) {
  if (!std::regex_match(flags.slot, std::regex("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"))) {
    return UsageError("a slot's name has letters, digits, dots, dashes and underscores, 64 at most", "--slot",
                      flags.slot, "Use a name like 0 or gpu-1");
  }
  const std::optional<StateDir> dir = FindStateDir(flags.dir);
  if (!dir.has_value()) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0611", "there is no state directory at or above this directory", "", "",
                      "Give it with --dir DIR, or start a study with: rung run STUDY.json"});
  }
  const std::string name = ThisProcess().host + "-" + flags.slot;
  RUNG_ASSIGN_OR_RETURN(AgentOptions options, MakeOptions(flags, *dir, name));
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir->worker(name)));
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir->logs()));
  SystemClock clock;
  Log log("worker-" + name, clock);
  RUNG_RETURN_IF_ERROR(log.OpenFile(dir->logs() + "/worker-" + name + ".log"));
  RUNG_ASSIGN_OR_RETURN(const std::optional<GpuClaim> claim, ClaimGpus(flags, clock));
  std::unique_ptr<JobTime> job_time;
  if (const std::string task = SlurmTask(Variable); !task.empty()) {
    const auto ask = [task, &clock] { return AskSlurmTimeLeft(task, clock); };
    job_time = std::make_unique<JobTime>(ask, kAskSlurmAgain, clock);
    options.job_time_left = [&time = *job_time] { return time.Left(); };
  }
  log.Write(LogLevel::kInfo, "started",
            {{"instance", options.link.identity.instance},
             {"device", options.link.identity.device},
             {"job_time_left", job_time == nullptr ? "" : absl::FormatDuration(job_time->Left())},
             {"pid", std::to_string(getpid())}});
  options.tell = [name](const std::string& line) { TellPerson("worker " + name + ": " + line); };
  options.tell(absl::StrFormat("working for %s on %s; Ctrl-C lets it checkpoint and end", dir->root,
                               options.link.identity.device));
  const absl::Duration margin = options.leave_margin;
  Agent agent(std::move(options), MemoryEvents(), clock, log);
  const SignalThread signals(agent);
  if (job_time != nullptr) job_time->OnMargin(margin, [&agent] { agent.DrainBeforeJobEnd(); });
  const absl::Status status = agent.Run();
  if (job_time != nullptr) job_time->Stop();
  *left_for_job_end = agent.left_for_job_end();
  if (!status.ok()) log.Write(LogLevel::kError, "failed", {{"error", std::string(status.message())}});
  return status;
}

int Main(int argc, char** argv) {
  SilenceGrpc();
  Flags flags;
  CLI::App app("Leases attempts from the coordinator of a state directory and runs them in trainers",
               "rung-worker");
  app.add_option("--dir", flags.dir,
                 "State directory (default: $RUNG_DIR, else the nearest .rung of your own in the working "
                 "directory or above it)");
  app.add_option("--slot", flags.slot, "Name of this worker on its host")->capture_default_str();
  app.add_option("--trainer", flags.trainer, "rung-trainer (default: beside this program)");
  app.add_option("--device", flags.device, "auto, cpu or cuda:N")->capture_default_str();
  app.add_option("--idle-exit", flags.idle_exit,
                 "End after this long without work, e.g. 10m, and at once when others do all that is left");
  app.add_option("--leave-margin", flags.leave_margin,
                 "How long before the end of its Slurm job it gives back what it trains, and begins nothing")
      ->capture_default_str();
  app.add_option("--endpoint-wait", flags.endpoint_wait, "How long to wait for a coordinator at the start")
      ->capture_default_str();
  app.add_option("--gpus", flags.gpus, "GPUs this worker must see, exactly, and have for itself")
      ->check(CLI::Range(0, 1024));
  app.add_option("--trials-per-gpu", flags.trials_per_gpu, "Workers that share these GPUs, this one included")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_flag("--exit-when-done", flags.exit_when_done, "End when every study is finished");
  app.add_flag("--die-with-parent", flags.die_with_parent, "Be killed when the parent process dies");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    const absl::Status status = UsageError(error.what(), "command line", absl::StrJoin(app.remaining(), " "),
                                           "See rung-worker --help");
    PrintDaemonError(status);
    return ExitCode(status);
  }
  if (flags.die_with_parent) {
    const pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || parent == 1) return 1;  // it is dead already
  }
  AdoptStrays();
  ForbidCoreDumps();
  umask(077);
  signal(SIGPIPE, SIG_IGN);
  const sigset_t signals = SignalThread::Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  bool left_for_job_end = false;
  const absl::Status status = RunWorker(flags, &left_for_job_end);
  if (!status.ok()) PrintDaemonError(status);
  return status.ok() && left_for_job_end ? kExitReleased : ExitCode(status);
}

}  // namespace
}  // namespace rung

int main(int argc, char** argv) {
  return rung::Main(argc, argv);
}
