// Many workers of one coordinator, each with its own connection, who lease and report in turn at a given rate
// whether the answers come or not (open loop): a latency counts from the moment when its call was due, so
// that a slow answer is not hidden by the calls that had to wait for it.
//
// load_driver STATE_DIR WORKERS OPERATIONS_PER_SECOND SECONDS: of a rungd with --listen and a study that
// does not end. Prints one JSON object. A lease and a report are an operation each.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/status.h"
#include "bench/service/latencies.h"
#include "bench/service/load_worker.h"
#include "search/rng.h"

namespace rung {
namespace {

using std::chrono::steady_clock;

constexpr auto kWarmUp = std::chrono::seconds(5);  // not counted
constexpr auto kLastAnswers = std::chrono::seconds(60);
constexpr uint64_t kSeed = 1;

steady_clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

// A worker and its calls: the next one begins when it is due and the one before has been answered.
class Player {
 public:
  Player(std::unique_ptr<LoadWorker> worker, SteadyTime count_from)
      : worker_(std::move(worker)), count_from_(count_from) {}

  void Due(SteadyTime when) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      due_.push_back(when);
      if (std::exchange(busy_, true)) return;
    }
    Begin();
  }
  void Beat() { worker_->Beat(); }
  bool busy() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return busy_;
  }
  // Once it is not busy any more:
  const std::vector<double>& leases() const { return leases_; }
  const std::vector<double>& reports() const { return reports_; }
  const std::vector<double>& sent_late() const { return sent_late_; }
  const absl::Status& error() const { return error_; }

 private:
  void Begin() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      began_ = due_.front();
      due_.pop_front();
    }
    if (began_ >= count_from_) sent_late_.push_back(MillisecondsSince(began_));
    context_ = std::make_unique<grpc::ClientContext>();
    worker_->session().Prepare(*context_, kLeaseDeadline);
    const auto stub = worker_->session().stub->async();
    if (worker_->leased()) {
      report_ = worker_->Report();
      stub->Report(context_.get(), &report_, &reported_,
                   [this](const grpc::Status& status) { End(reports_, worker_->OnReported(status)); });
    } else {
      lease_ = worker_->AskForWork();
      stub->Lease(context_.get(), &lease_, &leased_,
                  [this](const grpc::Status& status) { End(leases_, worker_->OnLeased(status, leased_)); });
    }
  }
  void End(std::vector<double>& latencies, const absl::Status& status) {
    if (began_ >= count_from_) latencies.push_back(MillisecondsSince(began_));
    error_.Update(status);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      busy_ = !due_.empty();
      if (!busy_) return;
    }
    Begin();
  }

  const std::unique_ptr<LoadWorker> worker_;
  const SteadyTime count_from_;
  mutable std::mutex mutex_;
  std::deque<SteadyTime> due_;  // guarded by mutex_
  bool busy_ = false;           // guarded by mutex_; what follows belongs to the call under way
  SteadyTime began_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::LeaseRequest lease_;
  v1::LeaseResponse leased_;
  v1::ReportRequest report_;
  v1::ReportResponse reported_;
  std::vector<double> leases_, reports_, sent_late_;
  absl::Status error_;
};

// Memory of a process in MB (1e6 bytes) by its name in /proc/PID/status.
double MemoryMb(int64_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::stod(line.substr(name.size() + 1)) * 1024 / 1e6;
  }
  RUNG_CHECK(false, "a coordinator that lives");
}

struct Load {
  StateDir dir;
  int64_t workers = 0;
  double rate = 0;  // operations a second, of all
  double seconds = 0;
};

// A heartbeat of each worker every `period`, one after the other.
void BeatAll(std::vector<std::unique_ptr<Player>>& players, double period, const std::atomic<bool>& stopped) {
  const auto each = Seconds(period / static_cast<double>(players.size()));
  for (size_t i = 0; !stopped; i = (i + 1) % players.size()) {
    std::this_thread::sleep_for(each);
    players[i]->Beat();
  }
}

// Each worker's turn comes once a round, at a random moment of it, the first one's first. Half of them are a
// call ahead of the others, so that a round has as many leases as reports.
void Drive(std::vector<std::unique_ptr<Player>>& players, const Load& load, SteadyTime begin,
           SteadyTime end) {
  const auto round = Seconds(static_cast<double>(players.size()) / load.rate);
  std::vector<double> moments(players.size());
  for (SteadyTime start = begin; start < end; start += round) {
    Rng rng(kSeed, static_cast<uint64_t>((start - begin).count()));
    for (double& moment : moments) moment = rng.Uniform();
    std::sort(moments.begin(), moments.end());
    for (size_t i = 0; i < players.size(); ++i) {
      const SteadyTime due = start + std::chrono::duration_cast<steady_clock::duration>(round * moments[i]);
      if (due >= end) return;
      if (start == begin && i % 2 == 1) continue;
      std::this_thread::sleep_until(due);
      players[i]->Due(due);
    }
  }
}

void AwaitAnswers(const std::vector<std::unique_ptr<Player>>& players) {
  const SteadyTime until = steady_clock::now() + kLastAnswers;
  for (const auto& player : players) {
    while (player->busy() && steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    RUNG_CHECK(!player->busy(), "every call is answered");
  }
}

nlohmann::json Figures(const std::vector<std::unique_ptr<Player>>& players, const Load& load) {
  std::vector<double> leases, reports, late;
  const auto add = [](std::vector<double>& all, const std::vector<double>& some) {
    all.insert(all.end(), some.begin(), some.end());
  };
  std::string error;
  for (const auto& player : players) {
    add(leases, player->leases());
    add(reports, player->reports());
    add(late, player->sent_late());
    if (!player->error().ok()) error = player->error().ToString();
  }
  return {{"workers", load.workers},
          {"operations_per_second", load.rate},
          {"seconds", load.seconds},
          {"lease", Summary(leases)},
          {"report", Summary(reports)},
          {"sent_late", Summary(late)},
          {"error", error}};
}

absl::StatusOr<nlohmann::json> Measure(const Load& load) {
  RUNG_RETURN_IF_ERROR(HideSocket(load.dir));
  RUNG_ASSIGN_OR_RETURN(const Endpoint endpoint, ReadEndpoint(load.dir));
  std::vector<std::unique_ptr<LoadWorker>> workers;
  for (int64_t i = 0; i < load.workers; ++i) {
    RUNG_ASSIGN_OR_RETURN(workers.emplace_back(), LoadWorker::Attach(load.dir, i));
  }
  const double heartbeat_seconds = workers.front()->session().heartbeat_seconds;
  const SteadyTime begin = steady_clock::now();
  const SteadyTime count_from = begin + kWarmUp;
  std::vector<std::unique_ptr<Player>> players;
  for (auto& worker : workers) players.push_back(std::make_unique<Player>(std::move(worker), count_from));

  std::atomic<bool> stopped{false};
  std::thread beats([&] { BeatAll(players, heartbeat_seconds, stopped); });
  std::array<double, 3> rss_mb{}, coordinator{}, driver{};  // at the begin, in the middle, at the end
  std::thread watch([&] {
    for (size_t i = 0; i < rss_mb.size(); ++i) {
      std::this_thread::sleep_until(count_from + Seconds(load.seconds * static_cast<double>(i) / 2));
      rss_mb[i] = MemoryMb(endpoint.pid, "VmRSS");
      coordinator[i] = ProcessorSeconds(endpoint.pid);
      driver[i] = ProcessorSeconds(getpid());
    }
  });
  Drive(players, load, begin, count_from + Seconds(load.seconds));
  watch.join();
  AwaitAnswers(players);
  stopped = true;
  beats.join();

  nlohmann::json figures = Figures(players, load);
  figures["rss_mb"] = rss_mb;
  figures["peak_mb"] = MemoryMb(endpoint.pid, "VmHWM");
  figures["coordinator_processors"] = (coordinator.back() - coordinator.front()) / load.seconds;
  figures["driver_processors"] = (driver.back() - driver.front()) / load.seconds;
  return figures;
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace rung

int main(int count, char** arguments) {
  rung::Load load;
  const bool read = count == 5 && absl::SimpleAtoi(arguments[2], &load.workers) && load.workers > 0 &&
                    absl::SimpleAtod(arguments[3], &load.rate) && load.rate > 0 &&
                    absl::SimpleAtod(arguments[4], &load.seconds) && load.seconds > 0;
  RUNG_CHECK(read, "load_driver STATE_DIR WORKERS OPERATIONS_PER_SECOND SECONDS");
  load.dir.root = arguments[1];
  rung::RaiseFileLimit();
  const absl::StatusOr<nlohmann::json> figures = rung::Measure(load);
  if (!figures.ok()) {
    std::fprintf(stderr, "load_driver: %s\n", figures.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n", figures->dump().c_str());
  return 0;
}
