// Runs Slurm's own programs (sbatch, squeue, scancel, sinfo, scontrol), found in PATH. Linux only; called
// from the main thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

// What the program printed on stdout. Errors: NotFound (E0803: it is not in PATH), FailedPrecondition (E0804:
// what it said), Internal (E0804: it cannot be started).
absl::StatusOr<std::string> RunSlurmTool(const std::vector<std::string>& argv,
                                         const std::vector<std::string>& environment);
// The same with our own environment, without the settings of a job that we may run in.
absl::StatusOr<std::string> RunSlurmTool(const std::vector<std::string>& argv);

// sbatch with these arguments (SubmitArguments) and exactly this environment; returns the job's number.
// Errors: as RunSlurmTool; Internal (E0804: its answer is no number).
absl::StatusOr<int64_t> SubmitScript(const std::vector<std::string>& arguments,
                                     const std::vector<std::string>& environment);

// One line of squeue. Tasks of an array that run are lines of their own, those that wait share one.
struct QueuedJob {
  std::string id;      // "17", "18_3"
  int64_t number = 0;  // that sbatch returned: the array's, where it is one
  std::string state;   // "PENDING", "RUNNING", ...
  std::string reason;  // why it waits, or its nodes
  std::string start;   // when it started, or may start: "2026-01-02T03:04:05", "N/A"
  std::string elapsed, limit;
  int64_t priority = 0;
};

// In the queue for a start that is to come.
bool Waits(const QueuedJob& job);
// It will not start again.
bool IsOver(const QueuedJob& job);
// Those that wait, then the youngest: what is nearly done is kept. Pure.
std::vector<QueuedJob> InOrderOfLeaving(std::vector<QueuedJob> jobs);

// Tells each of them to end: those that wait are cancelled, those that run get `signal` (USR2, TERM) in their
// script and checkpoint first. One that ended by itself meanwhile is none that failed. Errors: those of the
// first that is still there and was not told, after all others were.
absl::Status EndJobs(const std::vector<QueuedJob>& jobs, const std::string& signal);

// Those of `jobs` that the queue still knows, each task of an array on its own. Errors: as RunSlurmTool.
absl::StatusOr<std::vector<QueuedJob>> FindInQueue(const std::vector<int64_t>& jobs);
// squeue's lines, fields separated by tabs (for FindInQueue). Pure.
std::vector<QueuedJob> ParseQueue(const std::string& text);

}  // namespace rung
