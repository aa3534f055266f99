#include "worker/job_time.h"

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "worker/ask_program.h"

namespace rung {
namespace {

constexpr absl::Duration kAskPatience = absl::Seconds(10);
constexpr absl::Duration kLongestWait = absl::Hours(1);  // of a condition variable, far from its overflow

}  // namespace

std::optional<absl::Duration> ParseTimeLeft(const std::string& text) {
  const std::string word(absl::StripAsciiWhitespace(text));
  if (word == "UNLIMITED") return absl::InfiniteDuration();
  const std::vector<std::string> days = absl::StrSplit(word, '-');
  if (days.size() > 2) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(days.back(), ':');
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  int64_t seconds = 0;
  int64_t number = 0;
  if (days.size() == 2) {
    if (!absl::SimpleAtoi(days[0], &number) || number < 0 || number > 100'000) return std::nullopt;
    seconds = number * 24;
    if (parts.size() == 2) return std::nullopt;
  }
  for (const std::string& part : parts) {
    if (!absl::SimpleAtoi(part, &number) || number < 0 || number > 1'000'000) return std::nullopt;
    seconds = (&part == &parts.front() ? seconds : seconds * 60) + number;
  }
  return absl::Seconds(seconds);
}

std::string SlurmTask(const std::function<std::string(const char* name)>& variable) {
  const std::string array = variable("SLURM_ARRAY_JOB_ID");
  const std::string index = variable("SLURM_ARRAY_TASK_ID");
  return array.empty() || index.empty() ? variable("SLURM_JOB_ID") : array + "_" + index;
}

std::optional<absl::Duration> AskSlurmTimeLeft(const std::string& task, Clock& clock) {
  const absl::StatusOr<std::string> answer =
      AskProgram({"squeue", "--noheader", "--jobs=" + task, "--format=%L"}, kAskPatience);
  if (answer.ok()) {
    if (const std::optional<absl::Duration> left = ParseTimeLeft(*answer); left.has_value()) return left;
  }
  const char* end = getenv("SLURM_JOB_END_TIME");  // newer Slurm; UTC seconds
  int64_t seconds = 0;
  if (end == nullptr || !absl::SimpleAtoi(end, &seconds)) return std::nullopt;
  return std::max(absl::FromUnixSeconds(seconds) - clock.Now(), absl::ZeroDuration());
}

JobTime::JobTime(Ask ask, absl::Duration refresh, Clock& clock)
    : ask_(std::move(ask)), refresh_(refresh), clock_(clock) {
  Refresh();
  thread_ = std::thread([this] { Loop(); });
}

JobTime::~JobTime() {
  Stop();
}

void JobTime::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void JobTime::Refresh() {
  const std::optional<absl::Duration> left = ask_();
  if (!left.has_value()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  end_ = *left == absl::InfiniteDuration() ? *left : clock_.Steady() + *left;
}

absl::Duration JobTime::Left() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (end_ == absl::InfiniteDuration()) return end_;
  return std::max(end_ - clock_.Steady(), absl::ZeroDuration());
}

void JobTime::OnMargin(absl::Duration margin, std::function<void()> due) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    margin_ = margin;
    due_ = std::move(due);
  }
  changed_.notify_all();
}

void JobTime::Loop() {
  absl::Duration next_ask = clock_.Steady() + refresh_;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    const absl::Duration now = clock_.Steady();
    if (due_ && end_ - margin_ <= now) {
      const std::function<void()> due = std::exchange(due_, nullptr);
      lock.unlock();
      due();
      lock.lock();
      continue;
    }
    if (next_ask <= now) {
      lock.unlock();
      Refresh();
      next_ask = clock_.Steady() + refresh_;
      lock.lock();
      continue;
    }
    absl::Duration wait = std::min(next_ask - now, kLongestWait);
    if (due_) wait = std::min(wait, end_ - margin_ - now);
    changed_.wait_for(lock, absl::ToChronoMilliseconds(wait) + std::chrono::milliseconds(1));
  }
}

}  // namespace rung
