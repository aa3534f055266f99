// The one thread that owns the core and the store: group commit, then answers. Store first, memory second,
// answer last. Submit and Post may be called from any thread; callbacks and tasks run on the core thread and
// must not block.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "coordinator/core.h"
#include "coordinator/metrics.h"
#include "coordinator/state_lock.h"
#include "storage/study_store.h"

namespace rung {

// Removes directories on a thread of its own: on a parallel file system that may take longer than the lock
// may go without being renewed. What cannot be removed costs disk, not truth.
class DirectoryRemover {
 public:
  static constexpr absl::Duration kEndPatience = absl::Seconds(5);

  DirectoryRemover(Clock& clock, Log& log) : clock_(clock), log_(log), thread_([this] { Loop(); }) {}
  // What is still to be removed after kEndPatience stays.
  ~DirectoryRemover();
  void Remove(std::string path);

 private:
  static bool ReachedOverLink(const std::string& path);
  void Loop();

  Clock& clock_;
  Log& log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> paths_;                  // guarded by mutex_
  absl::Duration end_ = absl::InfiniteDuration();  // guarded by mutex_; steady
  std::thread thread_;
};

class CoreLoop {
 public:
  static constexpr size_t kGroup = 64;  // commands that share one commit
  static constexpr absl::Duration kTick = absl::Milliseconds(200);
  static constexpr absl::Duration kStatusEvery = absl::Seconds(5);

  using Callback = std::function<void(const absl::Status&, const std::string& bytes)>;
  using Task = std::function<void(const Core&, StudyStore&)>;
  using OnPush = std::function<void(const Push&)>;

  // `lock` may be null (tests without a directory to share). All references outlive the loop.
  CoreLoop(Core core, std::unique_ptr<StudyStore> store, StateLock* lock, Clock& clock, Log& log);
  ~CoreLoop();

  // Both are called on the core thread, until Stop; on_failure once, before anybody hears of the failure.
  void Start(OnPush on_push, std::function<void()> on_failure = nullptr);
  // Ends the thread after what is queued; later calls get UNAVAILABLE.
  void Stop();

  // Returns the ticket, by which a waiting call can be cancelled. The callback runs once.
  int64_t Submit(decltype(Command::body) body, Callback callback);
  // After the commit of what is queued before it. After a failure too: then memory is ahead of the store, and
  // what a task sees there must not be told. False: the loop is stopping, the task will not run.
  bool Post(Task task);
  bool Run(const Task& task);  // Post, and wait for it; not from the core thread

  absl::Status failure() const;        // not OK: nothing more is acknowledged, the process should end
  static absl::Status StoppedError();  // what callers hear when it stops (E0643)
  absl::Status unavailable() const;    // the failure as callers hear it; OK as long as there is none
  // Whether the directory is still this coordinator's to write to, as before each commit. Core thread only.
  absl::Status CheckLock() const;
  const LoopFigures& figures() const { return figures_; }  // core thread only
  absl::Duration last_call() const;                        // steady time of the last Submit
  void NoteCall() { last_call_ = absl::ToInt64Milliseconds(clock_.Steady()); }

 private:
  struct Item {
    Command command;
    Callback callback;
    Task task;
  };

  void Loop();
  std::vector<Item> NextGroup();
  void RunGroup(std::vector<Item> group);
  absl::Status Commit(const Batch& batch);
  void Finish(const Effects& effects);
  void Fail(const absl::Status& status);
  void Tick();
  void WriteStatus();
  void RemoveLeftOver();
  Now now() { return Now{clock_.Now(), clock_.Steady()}; }

  Core core_;
  const std::unique_ptr<StudyStore> store_;
  StateLock* const lock_;
  Clock& clock_;
  Log& log_;
  OnPush on_push_;
  std::function<void()> on_failure_;
  std::optional<DirectoryRemover> remover_;  // from Start to Stop

  // Only the core thread touches these.
  std::map<int64_t, Callback> callbacks_;  // by ticket, of calls that wait
  LoopFigures figures_;
  absl::Duration ticked_ = -absl::InfiniteDuration();
  absl::Duration status_written_ = -absl::InfiniteDuration();
  bool status_due_ = true;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Item> queue_;  // guarded by mutex_
  int64_t next_ticket_ = 1;  // guarded by mutex_
  bool stopping_ = false;    // guarded by mutex_
  absl::Status failure_;     // guarded by mutex_
  std::atomic<int64_t> last_call_{0};
  std::thread thread_;
};

}  // namespace rung
