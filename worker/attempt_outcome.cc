#include "worker/attempt_outcome.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "absl/strings/str_format.h"
#include "proto/exit_codes.h"
#include "proto/wire.h"

namespace rung {
namespace {

std::string SignalName(int number) {
  const char* name = sigabbrev_np(number);
  return name == nullptr ? absl::StrFormat("signal %d", number) : absl::StrFormat("SIG%s", name);
}

bool IsFault(int signal_number) {
  return signal_number == SIGSEGV || signal_number == SIGABRT || signal_number == SIGFPE ||
         signal_number == SIGILL;
}

FailedOutcome CrashWithTail(const std::string& what, const std::string& tail) {
  return {FailureCause::kCrash, tail.empty() ? what : what + ": " + tail};
}

FailedOutcome OutOfMemory() {
  return {FailureCause::kOutOfMemory, "the kernel's out-of-memory killer ended the trainer"};
}

AttemptOutcome OutcomeOfSignal(int number, bool out_of_memory, const std::string& tail) {
  if (IsFault(number)) return CrashWithTail("the trainer died of " + SignalName(number), tail);
  if (number == SIGKILL && out_of_memory) return OutOfMemory();
  return ReleasedOutcome{LossReason::kKilled, "the trainer was killed by " + SignalName(number)};
}

}  // namespace

AttemptOutcome OutcomeOfDeath(int status, bool out_of_memory, const std::string& tail) {
  if (WIFSIGNALED(status)) return OutcomeOfSignal(WTERMSIG(status), out_of_memory, tail);
  const int code = WEXITSTATUS(status);
  // Perhaps asked by somebody else (scancel signals every process of a job), so no crash; but counted, since
  // a program that always ends so would be granted for ever.
  if (code == kExitReleased)
    return ReleasedOutcome{LossReason::kKilled, "the trainer released its attempt, and nobody asked it to"};
  if (code == kExitMachine)
    return ReleasedOutcome{LossReason::kKilled, "the trainer could not go on on this machine: " + tail};
  if (code == 128 + SIGKILL && out_of_memory) return OutOfMemory();  // a shell's word for its child
  if (code == 0) return CrashWithTail("the trainer ended without a result line", tail);
  return CrashWithTail(absl::StrFormat("the trainer ended with exit code %d", code), tail);
}

std::string OutcomeText(const AttemptOutcome& outcome) {
  if (std::holds_alternative<ResultValues>(outcome)) return "result";
  if (const auto* failed = std::get_if<FailedOutcome>(&outcome)) {
    return absl::StrFormat("failed (%s): %s", Name(failed->cause), failed->message);
  }
  if (const auto* released = std::get_if<ReleasedOutcome>(&outcome)) return "released: " + released->message;
  return "abandoned: the lease was lost";
}

}  // namespace rung
