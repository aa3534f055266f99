// The lock of a state directory: lock/N, N = term, made exclusively with N = highest + 1, so one contender
// wins an N. A released lock is taken at once; so is one whose holder is proved dead on this host; any other
// only after its counter stood still for 30 s of our own steady clock. The holder renews its counter every 5
// s and fences itself. Not thread-safe: the core thread renews and checks; Acquire comes before that thread,
// Release after it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "proto/endpoint.h"
#include "proto/process_identity.h"

namespace rung {

struct LockOptions {
  ProcessIdentity self;
  // A coordinator started for one CLI call: it never takes over another host's lock, and gives way when
  // asked.
  bool gives_way = false;
  absl::Duration watch = absl::Seconds(30);
  std::function<void(absl::Duration)> pause;  // sleeps; tests move a fake clock instead
};

class StateLock {
 public:
  static constexpr absl::Duration kRenewEvery = absl::Seconds(5);
  static constexpr absl::Duration kFencedAfter = absl::Seconds(15);
  static constexpr absl::Duration kGiveWayWait = absl::Seconds(20);

  // Errors: Aborted (E0640) naming the holder and the mend; those of the file system (E0641).
  static absl::StatusOr<std::unique_ptr<StateLock>> Acquire(const StateDir& dir, const LockOptions& options,
                                                            Clock& clock);
  ~StateLock();

  int64_t term() const { return term_; }
  // The database this term works on: rung.db, or the copy made when another host's lock was taken over.
  std::string database() const;
  // The database is open: locks of older terms may go.
  void RemoveOlder();

  // Writes the counter if it is due. Errors: Internal (E0641).
  absl::Status Renew();
  // To be called before each commit. Aborted (E0642): too long since the last renewal, or a newer term
  // exists. Internal (E0641): nobody can tell.
  absl::Status Check() const;
  // To be called after each commit, before it is acknowledged: who took the directory over while a disk
  // stalled copied the store before it. Aborted (E0642): a newer term exists. Internal (E0641): nobody can
  // tell.
  absl::Status CheckNewest() const;
  // Another coordinator asked the one that gives way to end (lock/want).
  bool Wanted() const;
  void Release();

 private:
  StateLock(StateDir dir, LockOptions options, Clock& clock)
      : dir_(std::move(dir)), options_(std::move(options)), clock_(clock) {}
  absl::Status Write(bool released);

  const StateDir dir_;
  const LockOptions options_;
  Clock& clock_;
  int64_t term_ = 0;
  std::string database_name_ = "rung.db";
  bool copying_ = false;
  int descriptor_ = -1;
  int64_t counter_ = 0;
  absl::Duration renewed_;
};

}  // namespace rung
