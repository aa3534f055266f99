#include "worker/attempt_control.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "base/check.h"

namespace rung {

AttemptControl::AttemptControl() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  RUNG_CHECK(event_ >= 0, "a process starts with free descriptors");
}

AttemptControl::~AttemptControl() {
  close(event_);
}

void AttemptControl::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(event_, &one, sizeof(one));
}

void AttemptControl::Request(Interrupt interrupt) {
  Interrupt current = interrupt_.load();
  while (current < interrupt && !interrupt_.compare_exchange_weak(current, interrupt)) {
  }
  Wake();
}

void AttemptControl::RequestCheckpoint() {
  checkpoint_.store(true);
  Wake();
}

void AttemptControl::Reset() {
  checkpoint_.store(false);
  interrupt_.store(Interrupt::kNone);
}

void AttemptControl::Acknowledge() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(event_, &count, sizeof(count));
}

}  // namespace rung
