// One worker that leases and reports without a pause while the trials that its coordinator has stored grow in
// number: what a call costs with so many of them.
//
// curve_driver STATE_DIR CALLS TRIALS...: of a rungd with --listen, and a new study that does not end. The
// next CALLS trials after each number are measured, processor_ms of the coordinator for each call. Prints a
// JSON object a line.
#include <algorithm>
#include <cstdio>
#include <span>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/status.h"
#include "bench/service/latencies.h"
#include "bench/service/load_worker.h"

namespace rung {
namespace {

struct Trial {
  double lease_ms = 0, report_ms = 0;
  double processor_seconds = 0;  // of the coordinator, until its end
};

absl::StatusOr<Trial> RunTrial(LoadWorker& worker) {
  const CoordinatorSession& session = worker.session();
  const SteadyTime asked = std::chrono::steady_clock::now();
  grpc::ClientContext lease;
  session.Prepare(lease, kLeaseDeadline);
  v1::LeaseResponse leased;
  const grpc::Status granted = session.stub->Lease(&lease, worker.AskForWork(), &leased);
  Trial trial;
  trial.lease_ms = MillisecondsSince(asked);
  RUNG_RETURN_IF_ERROR(worker.OnLeased(granted, leased));
  const v1::ReportRequest request = worker.Report();
  const SteadyTime told = std::chrono::steady_clock::now();
  grpc::ClientContext report;
  session.Prepare(report, kCallDeadline);
  v1::ReportResponse reported;
  const grpc::Status stored = session.stub->Report(&report, request, &reported);
  trial.report_ms = MillisecondsSince(told);
  RUNG_RETURN_IF_ERROR(worker.OnReported(stored));
  return trial;
}

absl::Status Measure(const StateDir& dir, int64_t calls, const std::vector<int64_t>& depths) {
  RUNG_RETURN_IF_ERROR(HideSocket(dir));
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<LoadWorker> worker, LoadWorker::Attach(dir, 0));
  RUNG_ASSIGN_OR_RETURN(const Endpoint endpoint, ReadEndpoint(dir));
  std::vector<Trial> trials;
  for (int64_t i = 0; i < depths.back() + calls; ++i) {
    RUNG_ASSIGN_OR_RETURN(trials.emplace_back(), RunTrial(*worker));
    trials.back().processor_seconds = ProcessorSeconds(endpoint.pid);
  }
  for (const int64_t depth : depths) {
    std::vector<double> leases, reports;
    const std::span<const Trial> measured(&trials[static_cast<size_t>(depth)], static_cast<size_t>(calls));
    for (const Trial& trial : measured) {
      leases.push_back(trial.lease_ms);
      reports.push_back(trial.report_ms);
    }
    const double used =
        measured.back().processor_seconds - trials[static_cast<size_t>(depth) - 1].processor_seconds;
    const nlohmann::json line = {{"stored_trials", depth},
                                 {"lease", Summary(leases)},
                                 {"report", Summary(reports)},
                                 {"processor_ms", 1e3 * used / static_cast<double>(2 * calls)}};
    std::printf("%s\n", line.dump().c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace rung

int main(int count, char** arguments) {
  std::vector<int64_t> numbers;
  for (int i = 2; i < count; ++i)
    RUNG_CHECK(absl::SimpleAtoi(arguments[i], &numbers.emplace_back()) && numbers.back() > 0, "numbers");
  RUNG_CHECK(numbers.size() >= 2 && std::is_sorted(numbers.begin() + 1, numbers.end()),
             "curve_driver STATE_DIR CALLS TRIALS..., growing");
  const absl::Status done =
      rung::Measure(rung::StateDir{arguments[1]}, numbers.front(), {numbers.begin() + 1, numbers.end()});
  if (done.ok()) return 0;
  std::fprintf(stderr, "curve_driver: %s\n", done.ToString().c_str());
  return 1;
}
