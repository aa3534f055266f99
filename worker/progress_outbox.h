// What the worker has to say on the Progress stream: metric points and checkpoints, kept until the
// coordinator has acknowledged them, over the ends of streams. Not thread-safe: CoordinatorLink guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>

#include "proto/rung/v1/rung.pb.h"

namespace rung {

inline constexpr size_t kMaxOutboxMessages = 100'000;  // about a day of points at one a second
inline constexpr int kMaxPointsPerMessage = 256;       // far below the 1 MiB of a message

class ProgressOutbox {
 public:
  // A message with points or a checkpoint. Beyond kMaxOutboxMessages the oldest points are given up,
  // checkpoints never.
  void Add(v1::ProgressRequest message);

  // A new stream: what was not acknowledged is sent again, sequence numbers start at 1.
  void StartStream();
  bool HasUnsent() const { return !unsent_.empty(); }
  // The next message to send, with its sequence number; points of one attempt that wait together go together.
  // Without any it is `heartbeat`.
  v1::ProgressRequest Next(const v1::ProgressRequest& heartbeat);
  void Acknowledge(int64_t seq);

  // Everything that is not acknowledged, oldest first.
  void ForEach(const std::function<void(const v1::ProgressRequest&)>& visit) const;
  size_t size() const { return unsent_.size() + sent_.size(); }
  int64_t dropped() const { return dropped_; }

 private:
  std::deque<v1::ProgressRequest> unsent_;
  std::deque<v1::ProgressRequest> sent_;  // in order of seq
  int64_t last_seq_ = 0;
  int64_t dropped_ = 0;
};

}  // namespace rung
