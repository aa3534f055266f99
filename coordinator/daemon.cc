#include "coordinator/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/core_loop.h"
#include "coordinator/recovery.h"
#include "coordinator/server.h"
#include "coordinator/state_directory.h"
#include "coordinator/state_lock.h"
#include "coordinator/tls.h"
#include "proto/daemon_output.h"
#include "proto/endpoint.h"
#include "proto/process_identity.h"
#include "proto/version.h"

namespace rung {
namespace {

constexpr absl::Duration kWatchEvery = absl::Milliseconds(100);
constexpr absl::Duration kDrainPatience = absl::Seconds(20);
// Waiting calls were answered by the drain; what is left are idle connections, whose clients may look at them
// only every 5 s, and a successor waits for the lock meanwhile.
constexpr absl::Duration kShutdownPatience = absl::Milliseconds(500);
constexpr absl::Duration kDoneLinger = absl::Seconds(2);     // who watches the study hears of its end
constexpr absl::Duration kToldPatience = absl::Seconds(30);  // for workers that do not ask
constexpr absl::Duration kNothingToDo = absl::Seconds(10);   // started for studies that were finished before

// SIGTERM and SIGINT, and SIGUSR1 (end, but leave the workers at work: another coordinator follows), taken
// from a wait instead of a handler: one thread reads them.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  // The number of the signal that came, or 0.
  int Wait(absl::Duration patience) {
    const timespec limit = absl::ToTimespec(patience);
    return std::max(0, sigtimedwait(&set_, nullptr, &limit));
  }
  // From now on a signal ends the process at once.
  void EndNow() {
    struct sigaction action {};
    action.sa_handler = [](int) { _exit(130); };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    signal(SIGUSR1, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }

 private:
  sigset_t set_;
};

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The running daemon, in the order in which its parts are made and the reverse in which they end.
class Daemon {
 public:
  explicit Daemon(const DaemonOptions& options)
      : options_(options), dir_{options.dir}, log_("rungd", clock_) {}

  absl::Status Start();
  absl::Status Watch(Signals& signals);
  absl::Status End(Signals& signals, absl::Status reason);

 private:
  void WarnOfNetwork();
  absl::Status StartServer(const Secrets& secrets, int64_t term);
  std::optional<std::string> WhyEnd();
  bool IsDone();
  absl::Status CheckWorkers();

  const DaemonOptions options_;
  const StateDir dir_;
  SystemClock clock_;
  Log log_;
  std::unique_ptr<StateLock> lock_;
  std::unique_ptr<CoreLoop> loop_;
  std::unique_ptr<Server> server_;
  std::atomic<int> shutdown_asked_{0};  // 1: now, 2: after a drain
  bool drain_ = true;
  std::string why_ended_;
  absl::Duration with_workers_;  // the last time when one was there, or the start
  absl::Duration finished_since_ = absl::InfiniteDuration();
  bool had_work_ = false;
};

absl::Status Daemon::Start() {
  with_workers_ = clock_.Steady();
  RUNG_ASSIGN_OR_RETURN(const Secrets secrets, PrepareStateDirectory(dir_));
  RUNG_RETURN_IF_ERROR(log_.OpenFile(dir_.logs() + "/rungd.log"));
  WarnOfNetwork();
  const LockOptions lock_options{ThisProcess(), options_.gives_way(), absl::Seconds(30),
                                 [](absl::Duration time) { absl::SleepFor(time); }};
  RUNG_ASSIGN_OR_RETURN(lock_, StateLock::Acquire(dir_, lock_options, clock_));
  RUNG_RETURN_IF_ERROR(CheckDatabaseThere(dir_, lock_->database()));
  RUNG_ASSIGN_OR_RETURN(std::unique_ptr<StudyStore> store, StudyStore::Open(lock_->database()));
  lock_->RemoveOlder();
  CoreOptions core_options;
  core_options.dir = dir_;
  core_options.nonce = secrets.nonce;
  core_options.build = absl::StrFormat("rung %s", kVersion);
  core_options.term = lock_->term();
  core_options.lease_ttl = options_.lease_ttl;
  core_options.offline = options_.offline;
  core_options.exit_when_done = options_.exit_when_done;
  RUNG_ASSIGN_OR_RETURN(Core core, LoadCore(core_options, *store));
  loop_ = std::make_unique<CoreLoop>(std::move(core), std::move(store), lock_.get(), clock_, log_);
  return StartServer(secrets, lock_->term());
}

// Where hosts share the directory it must lie on one. The lock does without the file system's own; what a
// server that lies about fsync, or its disk, loses is for a backup elsewhere.
void Daemon::WarnOfNetwork() {
  const std::string network = NetworkFileSystemAt(dir_.root);
  if (network.empty()) return;
  log_.Write(LogLevel::kWarning, "network_file_system", {{"type", network}, {"path", dir_.root}});
  TellPerson(
      absl::StrFormat("rungd: %s lies on %s: keep a backup on another disk: rung backup create --to FILE",
                      dir_.root, network));
}

absl::Status Daemon::StartServer(const Secrets& secrets, int64_t term) {
  ServerOptions server;
  RUNG_ASSIGN_OR_RETURN(server.unix_path, SocketPath(dir_));
  std::vector<std::string> names = HostNames();
  if (!options_.advertise.empty()) names.insert(names.begin(), options_.advertise);
  if (!options_.listen.empty()) {
    RUNG_ASSIGN_OR_RETURN(server.tls, PrepareTls(dir_, names, clock_));
  }
  server.listen = options_.listen;
  server.metrics = options_.metrics;
  server.database = lock_->database();
  server.tokens = secrets.tokens;
  server.term = term;
  server.build = absl::StrFormat("rung %s", kVersion);
  server.lease_ttl = options_.lease_ttl;
  server.offline = options_.offline;
  server.dir = dir_;
  server.on_shutdown = [this](bool drain) { shutdown_asked_ = drain ? 2 : 1; };
  RUNG_ASSIGN_OR_RETURN(server_, Server::Start(server, *loop_));
  const ProcessIdentity self = ThisProcess();
  Endpoint endpoint;
  endpoint.term = term;
  endpoint.pid = self.pid;
  endpoint.process_start_time = self.start_time;
  endpoint.boot_id = self.boot_id;
  endpoint.host = self.host;
  endpoint.unix_path = server.unix_path;
  if (!options_.listen.empty()) {
    const bool v6 = names.front().find(':') != std::string::npos;
    endpoint.tcp = absl::StrFormat(v6 ? "[%s]:%d" : "%s:%d", names.front(), server_->tcp_port());
  }
  endpoint.metrics = server_->metrics();
  endpoint.ca_sha256 = server.tls.ca_sha256;
  endpoint.started_at = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", clock_.Now(), absl::UTCTimeZone());
  RUNG_RETURN_IF_ERROR(WriteEndpoint(dir_, endpoint));
  log_.Write(LogLevel::kInfo, "started",
             {{"term", std::to_string(term)},
              {"unix", endpoint.unix_path},
              {"tcp", endpoint.tcp},
              {"metrics", endpoint.metrics}});
  if (!endpoint.metrics.empty())
    TellPerson("rungd: metrics at http://" + endpoint.metrics + "/metrics, with the token of tokens/viewer");
  TellPerson(absl::StrFormat("rungd: serving %s on its Unix socket%s; Ctrl-C ends it", dir_.root,
                             endpoint.tcp.empty() ? "" : " and at " + endpoint.tcp));
  return absl::OkStatus();
}

bool Daemon::IsDone() {
  bool finished = false;
  bool told = false;
  bool leases = false;
  loop_->Run([&](const Core& core, StudyStore&) {
    finished = core.AllFinished();
    told = core.WorkersTold();
    leases = !core.leases().all().empty();
    had_work_ = had_work_ || (!core.studies().empty() && !finished);
  });
  const absl::Duration now = clock_.Steady();
  if (!finished || leases) {
    finished_since_ = absl::InfiniteDuration();
    return false;
  }
  if (finished_since_ == absl::InfiniteDuration()) finished_since_ = now;
  const absl::Duration linger = had_work_ ? kDoneLinger : kNothingToDo;
  if (now - finished_since_ < linger) return false;
  return told || now - finished_since_ > kToldPatience;
}

absl::Status Daemon::CheckWorkers() {
  if (options_.workers_within == absl::InfiniteDuration()) return absl::OkStatus();
  bool present = false;
  loop_->Run([&](const Core& core, StudyStore&) { present = core.HasWorkers(); });
  const absl::Duration now = clock_.Steady();
  if (present) with_workers_ = now;
  if (now - with_workers_ < options_.workers_within) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDeadlineExceeded,
      {"E0644", "no worker was there for " + absl::FormatDuration(options_.workers_within), options_.dir, "",
       "Resume the study if it is paused, and bring workers with the next start"});
}

// nullopt: it goes on.
std::optional<std::string> Daemon::WhyEnd() {
  if (options_.exit_when_done && IsDone()) return "every study is finished";
  if (!options_.gives_way()) return std::nullopt;
  bool leases = false;  // granted by this one; an offline one shows those of a coordinator that is gone
  loop_->Run(
      [&](const Core& core, StudyStore&) { leases = !options_.offline && !core.leases().all().empty(); });
  if (leases) return std::nullopt;
  if (lock_->Wanted() || clock_.Steady() - loop_->last_call() > *options_.idle_exit)
    return "nobody needs it any more";
  return std::nullopt;
}

absl::Status Daemon::Watch(Signals& signals) {
  while (true) {
    if (const int number = signals.Wait(kWatchEvery); number != 0) {
      drain_ = number != SIGUSR1;
      why_ended_ = "told to by a signal";
      return absl::OkStatus();
    }
    if (absl::Status failure = loop_->failure(); !failure.ok()) return failure;
    if (shutdown_asked_ != 0) {
      drain_ = shutdown_asked_ == 2;
      why_ended_ = "told to by a command";
      return absl::OkStatus();
    }
    if (const std::optional<std::string> why = WhyEnd(); why.has_value()) {
      why_ended_ = *why;
      return absl::OkStatus();
    }
    RUNG_RETURN_IF_ERROR(CheckWorkers());
  }
}

absl::Status Daemon::End(Signals& signals, absl::Status reason) {
  signals.EndNow();
  if (server_ != nullptr) {
    log_.Write(LogLevel::kInfo, "ending", {{"reason", std::string(reason.message())}});
    server_->StopServing();
    if (drain_ && reason.ok()) {
      loop_->Submit(DrainAll{}, nullptr);
      const absl::Duration begin = clock_.Steady();
      bool leases = true;
      while (leases && clock_.Steady() - begin < kDrainPatience && loop_->failure().ok()) {
        loop_->Run([&](const Core& core, StudyStore&) {
          leases = false;
          for (const auto& [key, lease] : core.leases().all()) {
            const auto worker = core.workers().find(lease.worker);
            leases = leases || (worker != core.workers().end() && worker->second.streams > 0);
          }
        });
        if (leases) absl::SleepFor(kWatchEvery);
      }
    }
    server_->Shutdown(kShutdownPatience);
  }
  if (loop_ != nullptr) loop_->Stop();
  if (loop_ != nullptr && reason.ok()) reason = loop_->failure();
  server_ = nullptr;
  loop_ = nullptr;  // closes the database
  // Nobody on another host can prove this process dead: an endpoint left behind would look like a coordinator
  // that hangs.
  const absl::StatusOr<Endpoint> published = ReadEndpoint(dir_);
  if (published.ok() && published->pid == getpid() && published->boot_id == ThisProcess().boot_id) {
    unlink(dir_.endpoint().c_str());
  }
  if (lock_ != nullptr) lock_->Release();
  log_.Write(LogLevel::kInfo, "ended", {{"status", std::string(reason.message())}});
  if (reason.ok()) TellPerson("rungd: ended: " + why_ended_);
  return reason;
}

}  // namespace

absl::Status RunDaemon(const DaemonOptions& options) {
  umask(077);
  ForbidCoreDumps();
  Signals signals;
  RaiseFileLimit();
  Daemon daemon(options);
  absl::Status status = daemon.Start();
  if (status.ok()) status = daemon.Watch(signals);
  return daemon.End(signals, std::move(status));
}

}  // namespace rung
