#include "worker/trainer_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/attempt_log.h"
#include "worker/strays.h"

namespace rung {
namespace {

constexpr absl::Duration kFarAway = absl::Hours(1);
constexpr int kExitNotLoaded = 127;  // of the dynamic loader that misses a library
constexpr char kTrialFilePrefix[] = "trial-";

std::string ErrorText(const absl::Status& status) {
  return std::string(status.message());
}

// What the interpreter would say of a script that is not there would be taken for a fault of the config.
absl::Status CheckScript(const AttemptPlan& plan) {
  const std::optional<size_t> script = plan.is_command ? ScriptArgument(plan.argv) : std::nullopt;
  if (!script.has_value()) return absl::OkStatus();
  const std::string path = AbsolutePath(plan.argv[*script], plan.directory);
  if (access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0721", absl::StrFormat("there is no script %s: %s", path, strerror(errno)),
                    absl::StrFormat("trainer.argv[%d]", *script), plan.argv[*script], "Put it there"});
}

// Of a process that was killed: its end removes them otherwise.
void RemoveTrialFiles(const std::string& directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; at != end; at.increment(error)) {
    const std::filesystem::path& path = at->path();
    if (absl::StartsWith(path.filename().string(), kTrialFilePrefix) && path.extension() == ".json")
      unlink(path.c_str());
  }
}

// A coordinator whose database was restored gives the same numbers again: a checkpoint of the attempt that
// had them before must not pass for this one's.
absl::Status RemoveOfOldAttempt(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("cannot remove %s: %s", directory, error.message()));
}

// "validation/loss, epochs": the first of many.
std::string NamesOf(const std::map<std::string, double>& values) {
  constexpr size_t kMost = 8;
  std::vector<std::string> names;
  for (const auto& [name, value] : values) {
    if (names.size() == kMost) {
      names.push_back("...");
      break;
    }
    names.push_back(name);
  }
  return names.empty() ? "no values" : absl::StrJoin(names, ", ");
}

}  // namespace

// Ends when the trainer has given its last message or died. The order of the checks in Finished() is the
// contract: messages first, then the death.
class TrainerProcess::Attempt {
 public:
  Attempt(TrainerProcess& owner, const AttemptPlan& plan, AttemptControl& control,
          const AttemptObserver& observer)
      : owner_(owner),
        plan_(plan),
        control_(control),
        observer_(observer),
        log_(plan.attempt.log_path()),
        started_(owner.clock_.Steady()),
        limit_(started_ + plan.time_limit),
        deadline_(limit_) {}

  AttemptOutcome Run() {
    while (true) {
      if (std::optional<AttemptOutcome> outcome = Finished(); outcome.has_value()) {
        Drain();  // what was printed just before the last message belongs into this attempt's log
        return *std::move(outcome);
      }
      Wait();
      FollowControl();
      FollowDeadlines();
    }
  }

 private:
  TrainerChild& child() { return *owner_.child_; }
  absl::Duration Now() { return owner_.clock_.Steady(); }

  void Wait() {
    std::array<pollfd, 5> watched = {{{child().metrics(), POLLIN, 0},
                                      {child().output(), POLLIN, 0},
                                      {child().errors(), POLLIN, 0},
                                      {child().ended_event(), POLLIN, 0},
                                      {control_.event(), POLLIN, 0}}};
    const std::array<bool*, 3> closed = {&metrics_closed_, &output_closed_, &errors_closed_};
    for (size_t i = 0; i < closed.size(); ++i) {
      if (*closed[i]) watched[i].fd = -1;
    }
    if (death_.has_value()) watched[3].fd = -1;
    const absl::Duration left =
        std::clamp(std::min(deadline_, last_words_) - Now(), absl::ZeroDuration(), kFarAway);
    poll(watched.data(), watched.size(), static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    // The death is looked at before the pipes are read: what a dead child wrote is then all there.
    if (!death_.has_value()) death_ = child().Ended();
    Drain();
  }

  void Drain() {
    std::array<char, 1 << 16> buffer;
    const auto drain = [&buffer](int descriptor, bool& closed, const auto& use) {
      while (!closed) {
        const ssize_t n = read(descriptor, buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return;
        if (n == 0) closed = true;
        use(buffer.data(), static_cast<size_t>(n));
      }
    };
    drain(child().output(), output_closed_,
          [this](const char* bytes, size_t size) { log_.Add(bytes, size); });
    drain(child().errors(), errors_closed_,
          [this](const char* bytes, size_t size) { log_.AddError(bytes, size); });
    drain(child().metrics(), metrics_closed_, [this](const char* bytes, size_t size) {
      for (const std::string& line : lines_.Add(bytes, size)) OnLine(line);
      if (lines_.overlong())
        Violation(absl::StrFormat("a line is longer than %d bytes", kMaxTrainerLineBytes));
    });
  }

  void OnLine(const std::string& line) {
    absl::StatusOr<TrainerMessage> message = ParseTrainerMessage(line);
    if (!message.ok()) return Violation(ErrorText(message.status()));
    spoke_ = true;
    if (Failed()) return;  // the first word counts
    if (result_.has_value()) return Violation("a message follows the attempt's last one");
    if (const auto* metric = std::get_if<MetricMessage>(&*message)) observer_.on_metric(*metric);
    if (auto* checkpoint = std::get_if<CheckpointMessage>(&*message)) {
      checkpoint->budget = Granted(checkpoint->budget);
      observer_.on_checkpoint(*checkpoint);
    }
    if (const auto* failed = std::get_if<FailedMessage>(&*message)) {
      failed_ = *failed;
      AwaitLastWords();
    }
    if (const auto* result = std::get_if<ResultMessage>(&*message)) TakeResult(*result);
  }

  void TakeResult(const ResultMessage& result) {
    if (!plan_.evaluates() && result.values.count(plan_.metric) == 0) {
      return Violation(
          absl::StrFormat("the result has no value of %s, the study's objective.metric; it has %s",
                          plan_.metric, NamesOf(result.values)));
    }
    result_ = result;
    if (plan_.is_command && stop_sent_ == absl::InfiniteDuration())
      deadline_ = std::min(deadline_, Now() + owner_.options_.result_patience);
  }

  // The first one counts; the trainer is killed for it.
  void Violation(const std::string& what) {
    if (Failed()) return;
    violation_ = what;
    AwaitLastWords();
  }

  bool Failed() const { return !violation_.empty() || failed_.has_value(); }

  // What a program prints about its failure often stands in a buffer until it ends.
  void AwaitLastWords() {
    if (plan_.is_command) last_words_ = Now() + owner_.options_.failure_patience;
  }

  void FollowControl() {
    control_.Acknowledge();
    if (control_.TakeCheckpointRequest() && !plan_.is_command) child().Signal(SIGUSR1);
    if (control_.interrupt() != Interrupt::kNone && stop_sent_ == absl::InfiniteDuration()) Stop();
  }

  void Stop() {
    stop_sent_ = Now();
    deadline_ = stop_sent_ + owner_.options_.stop_patience;
    if (!death_.has_value()) child().Signal(SIGTERM);
  }

  void FollowDeadlines() {
    if (Now() < deadline_) return;
    if (stop_sent_ == absl::InfiniteDuration()) {
      limit_passed_ = Now() >= limit_ && !result_.has_value();
      Stop();
    } else {
      killed_by_us_ = true;
      child().Signal(SIGKILL);
      deadline_ = absl::InfiniteDuration();
    }
  }

  std::optional<AttemptOutcome> Finished() {
    const bool speaking = plan_.is_command && !death_.has_value() && Now() < last_words_;
    if (Failed() && speaking) return std::nullopt;
    if (!violation_.empty()) return Ending(FailedOutcome{FailureCause::kCrash, violation_});
    if (failed_.has_value()) return Ending(FailedOutcome{failed_->cause, failed_->message});
    if (result_.has_value() && !plan_.is_command) return Ending(Result());
    if (!death_.has_value()) return std::nullopt;
    const bool stopping = stop_sent_ != absl::InfiniteDuration();
    // A wrapper may die of SIGTERM at once while the program under it still writes its checkpoint.
    if (stopping && !metrics_closed_ && !killed_by_us_) return std::nullopt;
    const int status = *death_;
    if (result_.has_value() && (stopping || (WIFEXITED(status) && WEXITSTATUS(status) == 0)))
      return Ending(Result());
    if (limit_passed_ && control_.interrupt() == Interrupt::kNone) return TooLong();
    if (stopping) return Ending(ReleasedOutcome{LossReason::kReleased, StopText()});
    if (!plan_.is_command && !spoke_ && WIFEXITED(status) && WEXITSTATUS(status) == kExitNotLoaded)
      return owner_.Unfit(log_.Tail());
    const bool oom = MemoryEvents::OomKills(owner_.oom_counter_file_) > owner_.oom_kills_before_;
    return OutcomeOfDeath(status, oom, log_.Tail());
  }

  // What the lease allows to be said of this end.
  AttemptOutcome Ending(AttemptOutcome outcome) {
    if (control_.interrupt() == Interrupt::kLeaseLost) return AbandonedOutcome{};
    return outcome;
  }

  FailedOutcome TooLong() const {
    const std::string limit = absl::FormatDuration(plan_.time_limit);
    return {
        FailureCause::kCrash,
        ErrorText(MakeError(absl::StatusCode::kDeadlineExceeded,
                            {"E0724", "the attempt ran longer than its limit of " + limit,
                             "trainer.time_limit", limit, "Raise the limit, or search smaller configs"}))};
  }

  std::string StopText() const {
    return killed_by_us_ ? "stopped: it did not end within the time after SIGTERM" : "stopped";
  }

  // Nobody asked a program to read more. (rung-trainer does where one update is more than the rung.)
  double Granted(double budget) const {
    return plan_.is_command ? std::min(budget, plan_.attempt.budget_to()) : budget;
  }

  ResultValues Result() {
    ResultValues values;
    values.values = result_->values;
    for (const auto& [name, path] : result_->outputs) {
      values.outputs[name] = plan_.attempt.output_dir() + "/" + path;
    }
    const auto read = result_->values.find(kBudgetRead);
    const double reached = read == result_->values.end() ? plan_.attempt.budget_to() : Granted(read->second);
    if (!plan_.evaluates()) values.charged = std::max(0.0, reached - plan_.attempt.budget_from());
    values.device_seconds = absl::ToDoubleSeconds(Now() - started_);
    return values;
  }

  TrainerProcess& owner_;
  const AttemptPlan& plan_;
  AttemptControl& control_;
  const AttemptObserver& observer_;
  AttemptLog log_;
  const absl::Duration started_;
  const absl::Duration limit_;
  absl::Duration deadline_;  // of the next harder signal

  LineBuffer lines_;
  std::optional<ResultMessage> result_;
  std::optional<FailedMessage> failed_;
  std::string violation_;
  bool spoke_ = false;
  std::optional<int> death_;
  bool metrics_closed_ = false, output_closed_ = false, errors_closed_ = false;

  absl::Duration last_words_ =
      absl::InfiniteDuration();                          // until then a command that failed may end by itself
  absl::Duration stop_sent_ = absl::InfiniteDuration();  // when SIGTERM was sent
  bool limit_passed_ = false;
  bool killed_by_us_ = false;
};

TrainerProcess::TrainerProcess(TrainerOptions options, MemoryEvents memory_events, Clock& clock, Log& log)
    : options_(std::move(options)), memory_events_(std::move(memory_events)), clock_(clock), log_(log) {
  RemoveTrialFiles(options_.scratch_directory);
}

TrainerProcess::~TrainerProcess() {
  EndChild();
}

ReleasedOutcome TrainerProcess::Unfit(const std::string& why) const {
  const absl::Status status =
      MakeError(absl::StatusCode::kFailedPrecondition,
                {"E0727", absl::StrFormat("the trainer does not start on this machine: %s", why),
                 options_.trainer_path, "", "Mend its installation here: rung doctor says what is missing"});
  return {LossReason::kKilled, ErrorText(status), /*data_unreadable=*/false, status};
}

void TrainerProcess::EndChild() {
  if (child_ == nullptr) return;
  child_.reset();
  if (options_.end_strays) EndStrays();
}

std::vector<std::string> TrainerProcess::Environment(const AttemptPlan& plan,
                                                     const std::string& trial_file) const {
  std::vector<std::string> names = {
      "PATH", "HOME", "LANG", "TMPDIR", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"};
  if (plan.is_command) {
    names.insert(names.end(), plan.pass_env.begin(), plan.pass_env.end());
  } else {
    names.insert(names.end(), {"HF_HOME", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"});
  }
  std::map<std::string, std::string> pairs;
  for (const std::string& name : names) {
    if (const char* value = getenv(name.c_str()); value != nullptr) pairs[name] = value;
  }
  const auto add = [&pairs](const std::string& pair) {
    const size_t equals = pair.find('=');
    pairs[pair.substr(0, equals)] = pair.substr(equals + 1);
  };
  for (const std::string& pair : options_.device_environment) add(pair);
  for (const std::string& pair : plan.environment) add(pair);
  pairs["RUNG_METRICS_FD"] = std::to_string(kMetricsDescriptor);
  if (plan.is_command) pairs["RUNG_TRIAL_FILE"] = trial_file;
  std::vector<std::string> environment;
  for (const auto& [name, value] : pairs) environment.push_back(name + "=" + value);
  return environment;
}

absl::Status TrainerProcess::StartChild(const AttemptPlan& plan, const std::string& trial_file) {
  RUNG_RETURN_IF_ERROR(CheckScript(plan));
  if (child_ != nullptr && !plan.is_command && !child_->Ended().has_value() &&
      child_->WriteLine(trial_file)) {
    return absl::OkStatus();
  }
  EndChild();
  ChildSpec spec;
  spec.argv = plan.is_command ? plan.argv : std::vector<std::string>{options_.trainer_path};
  spec.environment = Environment(plan, trial_file);
  spec.directory = plan.directory;
  RUNG_ASSIGN_OR_RETURN(child_, TrainerChild::Start(spec));
  log_.Write(LogLevel::kInfo, "trainer_started",
             {{"program", spec.argv.front()}, {"pid", std::to_string(child_->pid())}});
  if (!plan.is_command) child_->WriteLine(trial_file);  // where it fails the death of the child tells why
  return absl::OkStatus();
}

// The trial file, and the directories it names.
absl::Status TrainerProcess::WriteTrial(const AttemptPlan& plan, const std::string& trial_file) const {
  // Only an attempt that is answered a second time may go on from a checkpoint of its own.
  const bool anew = plan.attempt.resume_dir() != plan.attempt.checkpoint_dir();
  // That of an evaluation lies in its output_dir.
  for (const std::string& directory : {plan.attempt.output_dir(), plan.attempt.checkpoint_dir()}) {
    if (anew) RUNG_RETURN_IF_ERROR(RemoveOfOldAttempt(directory));
    RUNG_RETURN_IF_ERROR(MakeDirectories(directory));
  }
  RUNG_RETURN_IF_ERROR(
      MakeDirectories(std::filesystem::path(plan.attempt.log_path()).parent_path().string()));
  const int file = open(trial_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written = file >= 0 && write(file, plan.trial_json.data(), plan.trial_json.size()) ==
                                        static_cast<ssize_t>(plan.trial_json.size());
  const int error = errno;
  if (file >= 0) close(file);
  if (written) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("cannot write %s: %s", trial_file, strerror(error)));
}

ReleasedOutcome TrainerProcess::NotStarted(const AttemptPlan& plan, const absl::Status& why) const {
  if (absl::IsResourceExhausted(why)) return {LossReason::kKilled, ErrorText(why)};
  if (!plan.is_command) return Unfit(ErrorText(why));
  // No config names the program: perhaps it is not installed on this node.
  return {LossReason::kReleased, ErrorText(why), /*data_unreadable=*/true};
}

AttemptOutcome TrainerProcess::Run(const AttemptPlan& plan, AttemptControl& control,
                                   const AttemptObserver& observer) {
  std::string name = KeyText(plan.attempt.key());
  std::replace(name.begin(), name.end(), '/', '-');
  const std::string trial_file = options_.scratch_directory + "/" + kTrialFilePrefix + name + ".json";
  if (const absl::Status written = WriteTrial(plan, trial_file); !written.ok()) {
    unlink(trial_file.c_str());
    return ReleasedOutcome{LossReason::kKilled, ErrorText(written)};
  }
  // Of our own group, which the child shares: nothing of what happens to it can come before this.
  oom_counter_file_ = memory_events_.CounterFile(getpid());
  oom_kills_before_ = MemoryEvents::OomKills(oom_counter_file_);
  const absl::Status started = StartChild(plan, trial_file);
  AttemptOutcome outcome =
      started.ok() ? Attempt(*this, plan, control, observer).Run() : NotStarted(plan, started);
  if (std::holds_alternative<FailedOutcome>(outcome)) {
    if (const absl::Status gone = CheckScript(plan); !gone.ok()) outcome = NotStarted(plan, gone);
  }
  // After anything but a result a warm trainer is replaced: nobody knows what state it is in. One that was
  // asked to stop ends soon, even if its result came first.
  const bool asked = control.interrupt() != Interrupt::kNone;
  if (plan.is_command || asked || !std::holds_alternative<ResultValues>(outcome)) EndChild();
  unlink(trial_file.c_str());
  return outcome;
}

}  // namespace rung
