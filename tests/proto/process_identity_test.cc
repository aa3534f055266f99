#include "proto/process_identity.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace rung {
namespace {

// What `check` says in a process of its own.
template <typename Check>
bool InChild(const Check& check) {
  const pid_t child = fork();
  if (child == 0) _exit(check() ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_CASE("a process without cores still knows itself, and others prove it alive and dead") {
  const auto closed = [] {
    ForbidCoreDumps();
    rlimit limit{};
    getrlimit(RLIMIT_CORE, &limit);
    return limit.rlim_cur == 0 && prctl(PR_GET_DUMPABLE) == 0;
  };
  CHECK(InChild(closed));
  // As a user without rights, whose own /proc files belong to root from then on.
  const auto knows_itself = [&] {
    if (geteuid() == 0 && setuid(65534) != 0) return false;
    const ProcessIdentity before = ThisProcess();
    if (!closed()) return false;
    const ProcessIdentity self = ThisProcess();
    return self.start_time != 0 && self.start_time == before.start_time && self.boot_id == before.boot_id &&
           !ProvedDead(self);
  };
  CHECK(InChild(knows_itself));
  int ready[2] = {-1, -1};
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    ForbidCoreDumps();
    [[maybe_unused]] const ssize_t n = write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  const ProcessIdentity other = OfPid(child);
  const auto sees = [&](bool dead) {
    return InChild([&] { return (geteuid() != 0 || setuid(65534) == 0) && ProvedDead(other) == dead; });
  };
  CHECK(sees(false));
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(sees(true));
  close(ready[0]);
  close(ready[1]);
}

}  // namespace
}  // namespace rung
