// How long the Slurm job around this worker may still run. Outside of Slurm, and in a job without a limit,
// for ever. Thread-safe; has a thread of its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/clock.h"

namespace rung {

// squeue's %L: "2-03:04:05", "04:05", "UNLIMITED"; nullopt for anything else ("INVALID", "NOT_SET").
std::optional<absl::Duration> ParseTimeLeft(const std::string& text);

// The name of the job around us in Slurm's programs, "" outside of one. One task of an array has the array's
// number as its SLURM_JOB_ID, which squeue takes for all of them.
std::string SlurmTask(const std::function<std::string(const char* name)>& variable);

// Asks `squeue`; where it does not answer, SLURM_JOB_END_TIME. nullopt: neither says anything.
std::optional<absl::Duration> AskSlurmTimeLeft(const std::string& task, Clock& clock);

class JobTime {
 public:
  using Ask = std::function<std::optional<absl::Duration>()>;

  // Asks at once, and again every `refresh`: an administrator may extend or cut a job. A question without an
  // answer changes nothing.
  JobTime(Ask ask, absl::Duration refresh, Clock& clock);
  ~JobTime();
  JobTime(const JobTime&) = delete;
  JobTime& operator=(const JobTime&) = delete;

  // InfiniteDuration: no end is known.
  absl::Duration Left() const;
  // Calls `due` once, on the thread of this object, when `margin` is left. To be called once.
  void OnMargin(absl::Duration margin, std::function<void()> due);
  // No call of `due` begins or goes on after this. Left() still answers.
  void Stop();

 private:
  void Loop();
  void Refresh();

  const Ask ask_;
  const absl::Duration refresh_;
  Clock& clock_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  absl::Duration end_ = absl::InfiniteDuration();  // Clock::Steady
  absl::Duration margin_ = absl::ZeroDuration();
  std::function<void()> due_;
  std::thread thread_;
};

}  // namespace rung
