// Preloaded into a program whose wall clock is to jump: the seconds in the file $RUNG_TEST_CLOCK are added to
// it at once. The steady clock goes on.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

time_t Offset() {
  const char* path = getenv("RUNG_TEST_CLOCK");
  if (path == nullptr) return 0;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[32] = {};
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  return size <= 0 ? 0 : atoll(text);
}

timespec Read(clockid_t clock) {
  timespec now = {};
  syscall(SYS_clock_gettime, clock, &now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now.tv_sec += Offset();
  return now;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  *now = Read(clock);
  return 0;
}
int gettimeofday(timeval* now, void*) noexcept {
  const timespec moved = Read(CLOCK_REALTIME);
  now->tv_sec = moved.tv_sec;
  now->tv_usec = moved.tv_nsec / 1000;
  return 0;
}
time_t time(time_t* now) noexcept {
  const time_t seconds = Read(CLOCK_REALTIME).tv_sec;
  if (now != nullptr) *now = seconds;
  return seconds;
}

}  // extern "C"
