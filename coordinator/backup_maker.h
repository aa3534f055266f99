// Copies of the database while the coordinator serves: some pages at a time on the core thread, between the
// groups of commands, then checked and named on a thread of its own. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/core_loop.h"
#include "proto/endpoint.h"
#include "proto/rung/v1/rung.pb.h"

namespace rung {

class BackupMaker {
 public:
  static constexpr int kPagesAtOnce = 512;  // 2 MiB, some milliseconds

  using Done = std::function<void(absl::StatusOr<v1::CreateBackupResponse>)>;

  BackupMaker(CoreLoop& loop, Clock& clock) : loop_(loop), clock_(clock) {}
  // Gives up the copy at hand, as the end of the loop does. The loop outlives it.
  ~BackupMaker();

  // `path` empty: backups/rung-TIME.db of the state directory. `done` is called once, on another thread.
  // Errors: FailedPrecondition (E0511: one is being made; E0512: not an absolute path), those of
  // DatabaseCopy, Unavailable (the coordinator ends).
  void Make(const StateDir& dir, const std::string& path, Done done);

 private:
  absl::StatusOr<v1::CreateBackupResponse> Copy(const std::string& path);

  CoreLoop& loop_;
  Clock& clock_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  bool busy_ = false;   // guarded by mutex_
  std::thread thread_;  // guarded by mutex_
};

}  // namespace rung
