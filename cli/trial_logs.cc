// rung trial logs T [-f]: the log of a trial's last attempt (or of the one that is named), read from the
// state directory.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/signals.h"
#include "cli/views.h"
#include "worker/text/utf8.h"

namespace rung {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(500);

struct Options {
  std::string trial;
  int rung = -1;
  int64_t attempt = 0;
  bool follow = false;
};

// The attempt that was named, else the one that started last.
absl::StatusOr<v1::AttemptRow> Choose(const v1::TrialDetail& detail, const Options& options) {
  const v1::AttemptRow* chosen = nullptr;
  for (const auto& attempt : detail.attempts()) {
    if (options.rung >= 0 && attempt.key().rung() != options.rung) continue;
    if (options.attempt > 0 && attempt.key().attempt() != options.attempt) continue;
    if (chosen == nullptr || attempt.started_at_ms() >= chosen->started_at_ms()) chosen = &attempt;
  }
  if (chosen != nullptr) return *chosen;
  std::string what;
  if (options.attempt > 0) what = "attempt " + std::to_string(options.attempt);
  if (options.rung >= 0)
    what += (what.empty() ? "attempt at rung " : " at rung ") + std::to_string(options.rung);
  const std::string value = options.attempt > 0 ? std::to_string(options.attempt)
                            : options.rung >= 0 ? std::to_string(options.rung)
                                                : options.trial;
  return MakeError(
      absl::StatusCode::kNotFound,
      {"E0385", absl::StrFormat("trial %s has no %s", options.trial, what.empty() ? "attempt yet" : what),
       "command line", value, "See its attempts with `rung trial show " + options.trial + "`"});
}

// Bytes at the end that may be the beginning of a character whose rest has not been read yet.
size_t OpenCharacter(const std::string& text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const char byte = text[text.size() - back];
    if (ContinuesCharacter(byte)) continue;
    const auto lead = static_cast<unsigned char>(byte);
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

class LogReader {
 public:
  explicit LogReader(std::string path) : path_(std::move(path)) {}
  ~LogReader() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // Prints what is new; false while the file does not exist yet.
  bool PrintNew() {
    if (descriptor_ < 0) descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) return false;
    std::array<char, 1 << 16> buffer;
    for (ssize_t n = read(descriptor_, buffer.data(), buffer.size()); n > 0;
         n = read(descriptor_, buffer.data(), buffer.size())) {
      std::string text = rest_ + std::string(buffer.data(), static_cast<size_t>(n));
      const size_t open_bytes = OpenCharacter(text);
      rest_ = text.substr(text.size() - open_bytes);
      text.erase(text.size() - open_bytes);
      PrintText(PrintableLines(text));
    }
    return true;
  }
  void PrintRest() { PrintText(PrintableLines(std::exchange(rest_, ""))); }

 private:
  const std::string path_;
  std::string rest_;
  int descriptor_ = -1;
};

absl::StatusOr<int> Follow(Client& client, const Client::TrialName& name, const v1::AttemptRow& attempt,
                           Signals& signals, LogReader& reader) {
  bool running = attempt.ended_at_ms() == 0;
  while (running) {
    reader.PrintNew();
    if (signals.Wait(kLookEvery).has_value()) {
      PrintNote("the trial goes on");
      return 130;
    }
    const absl::StatusOr<v1::TrialDetail> detail = client.GetTrial(name.study.id(), name.trial);
    if (!detail.ok() && AskedToEnd()) continue;
    RUNG_RETURN_IF_ERROR(detail.status());
    for (const auto& row : detail->attempts()) {
      if (row.log_path() == attempt.log_path()) running = row.ended_at_ms() == 0;
    }
  }
  reader.PrintNew();
  reader.PrintRest();
  return 0;
}

absl::StatusOr<int> Logs(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  std::optional<Signals> signals;
  if (options.follow) signals.emplace(std::vector<int>{SIGINT, SIGTERM});
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const Client::TrialName name, client.FindTrial(options.trial));
  RUNG_ASSIGN_OR_RETURN(const v1::TrialDetail detail, client.GetTrial(name.study.id(), name.trial));
  RUNG_ASSIGN_OR_RETURN(const v1::AttemptRow attempt, Choose(detail, options));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json.update(AttemptJson(attempt));
    PrintJson(json);
    return 0;
  }
  PrintNote(absl::StrFormat("trial %d, rung %d, replicate %d, attempt %d on %s: %s", attempt.key().trial(),
                            attempt.key().rung(), attempt.key().replicate(), attempt.key().attempt(),
                            Printable(attempt.worker()), attempt.log_path()));
  LogReader reader(attempt.log_path());
  if (options.follow) return Follow(client, name, attempt, *signals, reader);
  if (reader.PrintNew()) {
    reader.PrintRest();
    return 0;
  }
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0386", "the attempt has no log", attempt.log_path(), attempt.log_path(),
                    "Its worker may not have started the trainer yet: look again, or use -f"});
}

}  // namespace

void AddTrialLogsCommand(CLI::App& trial, Context& context) {
  CLI::App& command =
      *trial.add_subcommand("logs", "Show the log of a trial's last attempt; Ctrl-C never stops the trial");
  command.footer("Example:\n  rung trial logs gnad10/17 -f");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("TRIAL", options->trial, "STUDY/NUMBER, or NUMBER if there is one study")->required();
  command.add_option("--rung", options->rung, "The last attempt at this rung")->check(AtLeast(0));
  command.add_option("--attempt", options->attempt, "This attempt")->check(AtLeast(1));
  command.add_flag("-f,--follow", options->follow, "Go on until the attempt ends");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Logs(context, *options); }; });
}

}  // namespace rung
