#include "worker/job_time.h"

#include <atomic>
#include <future>
#include <map>

#include <catch2/catch.hpp>

#include "tests/worker/scratch.h"
#include "worker/ask_program.h"

namespace rung {
namespace {

TEST_CASE("Slurm's words for the time that is left") {
  CHECK(ParseTimeLeft("04:05\n") == absl::Minutes(4) + absl::Seconds(5));
  CHECK(ParseTimeLeft("0:00") == absl::ZeroDuration());
  CHECK(ParseTimeLeft("1:02:03") == absl::Hours(1) + absl::Minutes(2) + absl::Seconds(3));
  CHECK(ParseTimeLeft("2-03:04:05") == absl::Hours(51) + absl::Minutes(4) + absl::Seconds(5));
  CHECK(ParseTimeLeft("UNLIMITED") == absl::InfiniteDuration());
  for (const char* text :
       {"", "INVALID", "NOT_SET", "5", "1-2", "1-2:3", "a:b", "-1:00", "1:2:3:4", "1-2-3:4:5"}) {
    INFO(text);
    CHECK(!ParseTimeLeft(text).has_value());
  }
}

TEST_CASE("a program is asked without a shell, and not for ever") {
  const auto answer = AskProgram({"echo", "a  b", "$HOME"}, absl::Seconds(20));
  REQUIRE(answer.ok());
  CHECK(*answer == "a  b $HOME\n");
  CHECK(absl::IsNotFound(AskProgram({"/nowhere/squeue"}, absl::Seconds(20)).status()));
  CHECK(absl::IsInternal(AskProgram({"false"}, absl::Seconds(20)).status()));
  CHECK(absl::IsDeadlineExceeded(AskProgram({"sleep", "600"}, absl::Milliseconds(50)).status()));
  CHECK(absl::IsInternal(AskProgram({"head", "-c", "100000", "/dev/zero"}, absl::Seconds(20)).status()));
}

TEST_CASE("squeue is asked, and the environment where it does not answer") {
  const Scratch scratch;
  SystemClock clock;
  const std::string path = getenv("PATH");
  setenv("PATH", (scratch.root() + ":" + path).c_str(), 1);
  scratch.Script("squeue", "#!/bin/sh\n[ \"$*\" = '--noheader --jobs=17 --format=%L' ] && echo 10:00\n");
  CHECK(AskSlurmTimeLeft("17", clock) == absl::Minutes(10));
  CHECK(!AskSlurmTimeLeft("18", clock).has_value());
  setenv("SLURM_JOB_END_TIME", std::to_string(absl::ToUnixSeconds(clock.Now()) + 1000).c_str(), 1);
  const auto left = AskSlurmTimeLeft("18", clock);
  unsetenv("SLURM_JOB_END_TIME");
  setenv("PATH", path.c_str(), 1);
  REQUIRE(left.has_value());
  CHECK(*left > absl::Seconds(900));
  CHECK(*left <= absl::Seconds(1000));
}

TEST_CASE("a task of an array is asked for by its own name, also where the array has one task") {
  const auto of = [](std::map<std::string, std::string> variables) {
    return SlurmTask([variables](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? "" : found->second;
    });
  };
  CHECK(of({}).empty());
  CHECK(of({{"SLURM_JOB_ID", "17"}}) == "17");
  CHECK(of({{"SLURM_JOB_ID", "18"}, {"SLURM_ARRAY_JOB_ID", "18"}, {"SLURM_ARRAY_TASK_ID", "0"}}) == "18_0");
  const Scratch scratch;
  SystemClock clock;
  const std::string path = getenv("PATH");
  setenv("PATH", (scratch.root() + ":" + path).c_str(), 1);
  // For the array's number squeue says the time of every task.
  scratch.Script(
      "squeue",
      "#!/bin/sh\ncase $2 in --jobs=18) echo 9:00; echo 10:00 ;; --jobs=18_0) echo 10:00 ;; esac\n");
  CHECK(!AskSlurmTimeLeft("18", clock).has_value());
  CHECK(AskSlurmTimeLeft("18_0", clock) == absl::Minutes(10));
  setenv("PATH", path.c_str(), 1);
}

TEST_CASE("the margin is called out once, also for a job that is cut short later") {
  SystemClock clock;
  std::atomic<int64_t> left_seconds{7200};
  JobTime time([&] { return std::optional<absl::Duration>(absl::Seconds(left_seconds.load())); },
               absl::Milliseconds(20), clock);
  CHECK(time.Left() > absl::Hours(1));
  std::promise<void> due;
  std::atomic<int> calls{0};
  time.OnMargin(absl::Hours(1), [&] {
    if (++calls == 1) due.set_value();
  });
  left_seconds = 1800;
  REQUIRE(due.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  time.Stop();
  CHECK(calls == 1);
  CHECK(time.Left() <= absl::Minutes(30));
}

TEST_CASE("without an answer no end is known, and an old answer stays") {
  SystemClock clock;
  std::atomic<int> asked{0};
  JobTime never([&] { return std::optional<absl::Duration>(); }, absl::Hours(1), clock);
  CHECK(never.Left() == absl::InfiniteDuration());
  std::promise<void> again;
  JobTime once(
      [&]() -> std::optional<absl::Duration> {
        if (++asked == 1) return absl::Hours(3);
        if (asked == 2) again.set_value();
        return std::nullopt;
      },
      absl::Milliseconds(1), clock);
  again.get_future().wait();
  CHECK(once.Left() > absl::Hours(2));
  CHECK(once.Left() <= absl::Hours(3));
}

}  // namespace
}  // namespace rung
