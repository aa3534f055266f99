#include "worker/strays.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/numbers.h"
#include "base/file.h"
#include "proto/process_identity.h"
#include "tests/scratch.h"

namespace rung {

TEST_CASE("what left its group and its session ends too") {
  const Scratch scratch;
  const std::string pids = scratch.path("pids");
  // A process of its own, so that the other tests of this program keep their children.
  const pid_t worker = fork();
  if (worker == 0) {
    AdoptStrays();
    ForbidCoreDumps();  // as rung-worker does: /proc still shows its children
    const pid_t trainer = fork();
    if (trainer == 0) {
      // Two generations: the second becomes an orphan when the first is killed.
      const std::string script = "setsid sh -c 'echo $$ >> " + pids + "; sleep 1000 & echo $! >> " + pids +
                                 "; echo end >> " + pids + "; wait' & ";
      execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
      _exit(127);
    }
    waitpid(trainer, nullptr, 0);
    while (ReadFile(pids).value_or("").find("end") == std::string::npos) poll(nullptr, 0, 5);
    EndStrays();
    _exit(waitpid(-1, nullptr, WNOHANG) == -1 ? 0 : 1);  // not even a zombie is left
  }
  int status = 0;
  REQUIRE(waitpid(worker, &status, 0) == worker);
  CHECK(status == 0);
  const std::string text = *ReadFile(pids);
  const pid_t first = static_cast<pid_t>(std::stol(text));
  const pid_t second = static_cast<pid_t>(std::stol(text.substr(text.find('\n') + 1)));
  CHECK(kill(first, 0) != 0);
  CHECK(kill(second, 0) != 0);
}

}  // namespace rung
