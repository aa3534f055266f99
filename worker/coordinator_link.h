// Keeps a worker attached: finds the coordinator, registers, holds the Progress stream with its heartbeats,
// and starts again after every break, with back-off 0.1-3 s. One thread of its own; all public functions are
// thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/rung/v1/rung.pb.h"
#include "worker/coordinator_session.h"
#include "worker/point_journal.h"
#include "worker/progress_outbox.h"
#include "worker/trainer_message.h"

namespace rung {

inline constexpr absl::Duration kFlushPatience = absl::Seconds(2);

class CoordinatorLink {
 public:
  struct Options {
    StateDir dir;
    WorkerIdentity identity;
    absl::Duration first_wait = absl::Seconds(60);  // for a coordinator to appear, before the first session
    std::string points_path;                        // PointJournal's file
    std::function<absl::Duration()> job_time_left;  // told with every heartbeat; null: no job
  };
  // Called on the link's thread; must not call back into the link.
  using CommandSink = std::function<void(const v1::ProgressResponse&)>;
  // Called on the link's thread, after the first Hello and before Register: a new instance id ends the leases
  // of the older one, so what that one left unreported goes first. The points it left have been sent. Until
  // it returns OK there is no session, and it is called again with the next coordinator.
  using BeforeRegister = std::function<absl::Status(const CoordinatorSession&)>;

  CoordinatorLink(Options options, CommandSink sink, BeforeRegister before_register, Clock& clock, Log& log);
  ~CoordinatorLink();
  CoordinatorLink(const CoordinatorLink&) = delete;
  CoordinatorLink& operator=(const CoordinatorLink&) = delete;

  void Start();
  // Ends the stream and the thread.
  void Stop();

  // The current session; waits for one up to `patience`. Errors: Unavailable (none yet), or the error that
  // ended the link for good (wrong version, refused registration, no coordinator within first_wait).
  absl::StatusOr<std::shared_ptr<const CoordinatorSession>> Session(absl::Duration patience);
  // The session's calls fail: attach anew, unless a later session is there already.
  void Suspect(int64_t generation);

  // The attempt that heartbeats name from now on; nullopt: idle.
  void Attend(const std::optional<v1::JobKey>& attempt);
  void SendMetric(const v1::JobKey& attempt, const MetricMessage& metric);
  void SendCheckpoint(const v1::JobKey& attempt, int64_t step, double budget);
  // The coordinator shows why this worker ends.
  void SayLeaving(const std::string& why);
  // Waits until all of it is acknowledged: a report or a release ends the lease, and with it the right to say
  // more. Bounded by kFlushPatience; ends at once in an outage.
  void Flush();

 private:
  void Loop();
  absl::StatusOr<std::shared_ptr<CoordinatorSession>> Attach();
  bool IsFinal(const absl::Status& error);
  void HoldStream(const std::shared_ptr<const CoordinatorSession>& shared);
  void ReadStream(const CoordinatorSession& session,
                  grpc::ClientReaderWriter<v1::ProgressRequest, v1::ProgressResponse>& stream);
  void WriteStream(const CoordinatorSession& session,
                   grpc::ClientReaderWriter<v1::ProgressRequest, v1::ProgressResponse>& stream);
  // Waits, less if the link is stopped or endpoint.json changes.
  void Pause(absl::Duration duration);
  void Enqueue(v1::ProgressRequest message);
  absl::Status ReplayPoints(const CoordinatorSession& session);
  // mutex_ is held:
  v1::ProgressRequest Named(v1::ProgressRequest message) const;
  void JournalAll();
  void OnJournaled(const absl::Status& stored, bool had_room);
  absl::Duration JobTimeLeft() const;
  double Jitter();

  const Options options_;
  const CommandSink sink_;
  BeforeRegister before_register_;
  Clock& clock_;
  Log& log_;
  std::thread thread_;

  // Of the link's thread alone.
  int64_t newest_term_ = 0;
  int64_t generations_ = 0;
  absl::Duration started_;
  uint64_t jitter_state_ = 1;
  std::optional<ProgressOutbox> left_;  // by the process before, until it is all answered

  std::mutex mutex_;  // guards what follows; never held across a call
  std::condition_variable changed_;
  bool stopping_ = false;
  bool stream_broken_ = false;
  std::shared_ptr<const CoordinatorSession> session_;
  absl::Status final_error_;
  ProgressOutbox outbox_;
  PointJournal journal_;
  std::string worker_;  // as the last coordinator called this worker
  v1::ProgressRequest heartbeat_;
};

}  // namespace rung
