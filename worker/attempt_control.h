// What may interrupt a running attempt: asked by the coordinator's stream or by a signal, seen by the agent's
// thread. Thread-safe.
#pragma once

#include <atomic>

namespace rung {

enum class Interrupt {
  kNone,
  kStop,       // the coordinator ends the attempt: release it
  kDrain,      // the worker ends: checkpoint, release
  kLeaseLost,  // the job is somebody else's: stop, report nothing
};

class AttemptControl {
 public:
  AttemptControl();
  ~AttemptControl();
  AttemptControl(const AttemptControl&) = delete;
  AttemptControl& operator=(const AttemptControl&) = delete;

  // The strongest request wins: lease lost > drain > stop.
  void Request(Interrupt interrupt);
  void RequestCheckpoint();

  // Before an attempt.
  void Reset();
  Interrupt interrupt() const { return interrupt_.load(); }
  bool TakeCheckpointRequest() { return checkpoint_.exchange(false); }

  // Readable after a request until Acknowledge.
  int event() const { return event_; }
  void Acknowledge();

 private:
  void Wake();

  int event_ = -1;
  std::atomic<Interrupt> interrupt_{Interrupt::kNone};
  std::atomic<bool> checkpoint_{false};
};

}  // namespace rung
