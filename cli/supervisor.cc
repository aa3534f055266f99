#include "cli/supervisor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/coordinator_access.h"
#include "cli/signals.h"
#include "proto/exit_codes.h"
#include "proto/process_identity.h"

namespace rung {
namespace {

constexpr absl::Duration kFirstDelay = absl::Milliseconds(100);
constexpr absl::Duration kHelloDeadline = absl::Seconds(5);
constexpr absl::Duration kOutPatience = absl::Seconds(45);
constexpr absl::Duration kNoteAfter = absl::Seconds(1);
constexpr int kOutPause_ms = 100;
constexpr absl::Duration kDeathPatience = absl::Seconds(1);
constexpr int kDeathPause_ms = 10;

absl::Status TooManyDeaths(const std::string& code, const std::string& who, int wait_status,
                           const std::string& log) {
  return MakeError(absl::StatusCode::kInternal,
                   {code,
                    absl::StrFormat("%s died %d times in %s, last by %s", who, RestartBudget::kRestarts + 1,
                                    DurationText(RestartBudget::kWindow), ExitText(wait_status)),
                    log, "", "Look into that log; the study is kept, `rung run` goes on with it"});
}

// What the worker of this slot printed.
std::string OutputOf(const StateDir& dir, const std::string& slot) {
  return dir.logs() + "/worker-" + slot + ".out";
}

// Started again it would say the same: the first line of the error that it printed last.
absl::Status CannotWork(const std::string& slot, const std::string& log) {
  const std::string output = ReadFile(log).value_or("");
  const size_t error = output.rfind("error E");
  const std::string why =
      error == std::string::npos ? "" : output.substr(error, output.find('\n', error) - error);
  return MakeError(absl::StatusCode::kInternal,
                   {"E0699", absl::StrFormat("worker %s cannot work here: %s", slot, why), log, "",
                    "Mend that; the study is kept, `rung run` goes on with it"});
}

bool HasWorkers(Client& client) {
  const absl::StatusOr<std::vector<v1::WorkerRow>> workers = client.ListWorkers();
  return workers.ok() && std::any_of(workers->begin(), workers->end(), [](const v1::WorkerRow& worker) {
           return worker.state() == "idle" || worker.state() == "busy";
         });
}

}  // namespace

std::optional<absl::Duration> RestartBudget::OnDeath(absl::Duration now) {
  while (!deaths_.empty() && now - deaths_.front() > kWindow) deaths_.pop_front();
  deaths_.push_back(now);
  if (deaths_.size() > kRestarts) return std::nullopt;
  return now + kFirstDelay * (1 << (deaths_.size() - 1));
}

Supervisor::~Supervisor() {
  for (const Worker& worker : workers_) {
    if (worker.pid != 0) kill(worker.pid, SIGKILL);
  }
  if (coordinator_ != 0) kill(coordinator_, SIGTERM);
}

absl::Status Supervisor::Connect() {
  const absl::Duration begin = clock_.Steady();
  bool noted = false;
  while (true) {
    absl::StatusOr<Client> client = ReachLiving(dir_, kHelloDeadline);
    // One that only reads gives way. One without workers may have been started for a single command: then it
    // does too. `rung serve` does not, and is returned.
    const bool gives_way = client.ok() && (client->hello().offline() || !HasWorkers(*client));
    if (gives_way) client = absl::NotFoundError("given up");  // an open connection would delay its end
    if (client.status().code() == absl::StatusCode::kNotFound) {
      client = StartCoordinator(dir_, CoordinatorStart{{"--exit-when-done"}, true}, clock_, &coordinator_);
    }
    if (client.ok()) {
      client_.emplace(*std::move(client));
      return absl::OkStatus();
    }
    // It may be on its way out, as after the end of an earlier `rung run`: that takes as long as its workers
    // drain.
    const absl::Duration waited = clock_.Steady() - begin;
    if (!MayPass(client.status()) || waited > kOutPatience || AskedToEnd()) return client.status();
    if (!noted && waited > kNoteAfter) PrintNote("waiting for the coordinator to answer or to end");
    noted = noted || waited > kNoteAfter;
    poll(nullptr, 0, kOutPause_ms);
  }
}

absl::Status Supervisor::StartWorkers(int count, const std::string& slot_prefix) {
  const std::vector<std::string> gpus = VisibleGpus();
  for (int i = 0; i < count; ++i) {
    Worker worker;
    worker.slot = slot_prefix + std::to_string(i);
    if (!gpus.empty()) worker.gpu = gpus[static_cast<size_t>(i) % gpus.size()];
    workers_.push_back(std::move(worker));
    RUNG_RETURN_IF_ERROR(StartWorker(workers_.back()));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::StartWorker(Worker& worker) {
  worker.due.reset();
  ChildOptions options;
  options.argv = {BesideThisProgram("rung-worker"), "--dir", dir_.root, "--slot", worker.slot};
  if (!worker.gpu.empty()) options.environment.emplace_back("CUDA_VISIBLE_DEVICES", worker.gpu);
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir_.logs()));
  options.output_path = OutputOf(dir_, worker.slot);
  options.die_with_parent = true;
  RUNG_ASSIGN_OR_RETURN(worker.pid, Spawn(options));
  return absl::OkStatus();
}

absl::Status Supervisor::Reap() {
  int wait_status = 0;
  for (Worker& worker : workers_) {
    if (worker.pid != 0 && waitpid(worker.pid, &wait_status, WNOHANG) == worker.pid) {
      RUNG_RETURN_IF_ERROR(OnWorkerEnd(worker, wait_status));
    }
  }
  if (coordinator_ != 0 && waitpid(coordinator_, &wait_status, WNOHANG) == coordinator_) {
    return OnCoordinatorEnd(wait_status);
  }
  return absl::OkStatus();
}

absl::Status Supervisor::OnWorkerEnd(Worker& worker, int wait_status) {
  const pid_t pid = std::exchange(worker.pid, 0);
  // Its parent saw it die: that is a proof, its leases end now and not after three TTLs.
  if (absl::StatusOr<Client*> connection = client(); connection.ok()) {
    if (!(*connection)->WorkerGone(ThisProcess().host, worker.slot, pid).ok()) Forget();
  }
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
  worker.left = code == kExitReleased;
  worker.finished = code == 0 || worker.left;
  if (worker.finished) return absl::OkStatus();
  if (stopping_) return absl::OkStatus();
  const std::string log = OutputOf(dir_, worker.slot);
  if (code == ExitCode(absl::FailedPreconditionError(""))) return CannotWork(worker.slot, log);
  worker.due = worker.budget.OnDeath(clock_.Steady());
  if (worker.due.has_value()) return absl::OkStatus();
  return TooManyDeaths("E0697", "worker " + worker.slot, wait_status, log);
}

absl::Status Supervisor::OnCoordinatorEnd(int wait_status) {
  coordinator_ = 0;
  client_.reset();
  if (stopping_ || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)) return absl::OkStatus();
  coordinator_due_ = coordinator_budget_.OnDeath(clock_.Steady());
  if (coordinator_due_.has_value()) {
    notice_ = absl::StrFormat("the coordinator ended (%s; see %s): starting it again", ExitText(wait_status),
                              dir_.logs() + "/rungd.log");
    return absl::OkStatus();
  }
  return TooManyDeaths("E0696", "the coordinator", wait_status, dir_.logs() + "/rungd.log");
}

absl::Status Supervisor::StartDue() {
  if (stopping_) return absl::OkStatus();
  const absl::Duration now = clock_.Steady();
  if (coordinator_due_.has_value() && *coordinator_due_ <= now) {
    coordinator_due_.reset();
    if (const absl::Status status = Connect(); !status.ok()) {
      // An error at its start (disk full, lock taken) may pass; it counts as a death.
      coordinator_due_ = coordinator_budget_.OnDeath(now);
      if (!coordinator_due_.has_value()) return status;
      notice_ = "the coordinator cannot start: " + std::string(status.message());
    } else if (coordinator_ != 0) {
      // The old coordinator may have drained its workers before it ended: the new one needs them.
      for (Worker& worker : workers_) {
        if (!worker.left && std::exchange(worker.finished, false)) worker.due = now;
      }
    }
  }
  for (Worker& worker : workers_) {
    if (worker.due.has_value() && *worker.due <= now) RUNG_RETURN_IF_ERROR(StartWorker(worker));
  }
  return absl::OkStatus();
}

std::optional<absl::Duration> Supervisor::NextDue() const {
  std::optional<absl::Duration> next = coordinator_due_;
  for (const Worker& worker : workers_) {
    if (worker.due.has_value() && (!next.has_value() || *worker.due < *next)) next = worker.due;
  }
  return next;
}

absl::StatusOr<Client*> Supervisor::client() {
  if (client_.has_value()) return &*client_;
  absl::StatusOr<Client> living = ReachLiving(dir_, kHelloDeadline);
  if (living.ok() && !living->hello().offline()) {
    client_.emplace(*std::move(living));
    return &*client_;
  }
  // Nobody there, and none of ours on its way: it was another's that ended, so the study becomes ours.
  if (coordinator_ == 0 && !coordinator_due_.has_value() && !stopping_) coordinator_due_ = clock_.Steady();
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0691", "the coordinator is being started again", dir_.root, "", "Wait"});
}

bool Supervisor::LostCoordinator() {
  // A connection breaks before its process is to be waited for.
  const absl::Duration end = clock_.Steady() + kDeathPatience;
  while (coordinator_ != 0 && waitpid(coordinator_, nullptr, WNOHANG) != coordinator_) {
    if (clock_.Steady() > end) return false;
    poll(nullptr, 0, kDeathPause_ms);
  }
  coordinator_ = 0;
  return true;
}

void Supervisor::DrainWorkers() {
  stopping_ = true;
  for (Worker& worker : workers_) {
    worker.due.reset();
    if (worker.pid != 0) kill(worker.pid, SIGTERM);
  }
}

void Supervisor::KillWorkers() {
  for (const Worker& worker : workers_) {
    if (worker.pid != 0) kill(worker.pid, SIGKILL);
  }
}

bool Supervisor::AllWorkersEnded() const {
  return workers_alive() == 0;
}

bool Supervisor::LeftForJobEnd() const {
  const auto finished = [](const Worker& worker) { return worker.finished; };
  const auto left = [](const Worker& worker) { return worker.left; };
  return std::all_of(workers_.begin(), workers_.end(), finished) &&
         std::any_of(workers_.begin(), workers_.end(), left);
}

int Supervisor::workers_alive() const {
  return static_cast<int>(
      std::count_if(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.pid != 0; }));
}

void Supervisor::EndCoordinator(absl::Duration patience) {
  stopping_ = true;
  if (coordinator_ == 0) return;
  if (client_.has_value()) client_->Shutdown(true).IgnoreError();
  client_.reset();  // the server waits for idle connections, and those notice its good-bye only after seconds
  const absl::Duration end = clock_.Steady() + patience;
  while (waitpid(coordinator_, nullptr, WNOHANG) == 0) {
    if (clock_.Steady() > end) kill(coordinator_, SIGTERM);
    if (clock_.Steady() > end + patience) kill(coordinator_, SIGKILL);
    poll(nullptr, 0, 20);
  }
  coordinator_ = 0;
}

std::vector<std::string> GpusOf(const std::string& visible) {
  std::vector<std::string> gpus;
  for (const absl::string_view entry : absl::StrSplit(visible, ',')) {
    const std::string gpu(absl::StripAsciiWhitespace(entry));
    const bool number = !gpu.empty() && std::all_of(gpu.begin(), gpu.end(), absl::ascii_isdigit);
    if (!number && !absl::StartsWith(gpu, "GPU-") && !absl::StartsWith(gpu, "MIG-")) break;
    gpus.push_back(gpu);
  }
  return gpus;
}

std::vector<std::string> VisibleGpus() {
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES"); visible != nullptr) {
    return GpusOf(visible);
  }
  std::vector<std::string> gpus;
  while (std::filesystem::exists("/dev/nvidia" + std::to_string(gpus.size()))) {
    gpus.push_back(std::to_string(gpus.size()));
  }
  return gpus;
}

int DefaultWorkers() {
  if (const size_t gpus = VisibleGpus().size(); gpus > 0) return static_cast<int>(gpus);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  return sched_getaffinity(0, sizeof cores, &cores) == 0 ? std::max(1, CPU_COUNT(&cores)) : 1;
}

}  // namespace rung
