#include "cli/coordinator_access.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/views.h"
#include "proto/process_identity.h"

namespace rung {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kHelloDeadline = absl::Seconds(5);
constexpr absl::Duration kStartDeadline =
    absl::Seconds(45);  // a lock of this host is judged at once, one of another after 30 s
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);
// A hand-over: the old coordinator drains for up to 20 s, the new one opens a large database. One on another
// host that does not answer is more likely gone, and nobody here can know.
constexpr absl::Duration kPatience = absl::Seconds(45);
constexpr absl::Duration kRemotePatience = absl::Seconds(15);
constexpr absl::Duration kNoteAfter = absl::Seconds(5);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
constexpr int64_t kStatusLimit = int64_t{16} << 20;

absl::Status Unreachable(const StateDir& dir, const std::string& who) {
  return MakeError(
      absl::StatusCode::kUnavailable,
      {"E0691", "a coordinator holds this state directory and does not answer", dir.root, who,
       "Try again in a moment, run the command on its host, or end it there; what was known last is above"});
}

absl::Status HandOver(const StateDir& dir) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0691", "another coordinator takes this state directory over at this moment", dir.root,
                    "", "Try again in a moment"});
}

// What a rungd that we start prints: beside its socket, since the state directory's disk may be full, which
// is then what it has to say. Several may start one at the same moment: each start has a file of its own
// until it has succeeded.
class StartLog {
 public:
  explicit StartLog(const StateDir& dir) {
    const absl::StatusOr<std::string> socket = SocketPath(dir);
    kept_ = socket.ok() ? *socket + ".out" : dir.root + "/rungd.out";
    path_ = absl::StrFormat("%s.%d", kept_, getpid());
    if (socket.ok()) RemoveOfTheKilled();  // a state directory has processes of other hosts too
  }
  ~StartLog() { unlink(path_.c_str()); }
  StartLog(const StartLog&) = delete;
  StartLog& operator=(const StartLog&) = delete;
  const std::string& path() const { return path_; }
  void Keep() const {
    std::error_code error;
    if (std::filesystem::file_size(path_, error) == 0) return;  // nothing was said: the destructor removes it
    std::ignore = rename(path_.c_str(), kept_.c_str());
  }

 private:
  void RemoveOfTheKilled() const {
    const std::filesystem::path kept(kept_);
    const std::string prefix = kept.filename().string() + ".";
    std::error_code error;
    for (std::filesystem::directory_iterator entry(kept.parent_path(), error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      absl::string_view number = name;
      pid_t process = 0;
      if (!absl::ConsumePrefix(&number, prefix) || !absl::SimpleAtoi(number, &process)) continue;
      if (kill(process, 0) != 0 && errno == ESRCH) unlink(entry->path().c_str());
    }
  }

  std::string kept_, path_;
};

// The error that rungd printed, so that it is shown once, and in the wanted format; else its last words.
absl::Status ParsedError(const std::string& output, int exit_code) {
  if (const std::optional<ErrorDetail> printed = PrintedError(output); printed.has_value())
    return ErrorOfExit(*printed, exit_code);
  std::string last_words;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(output, '\n'))) {
    if (!line.empty()) last_words = ": " + line;
  }
  return ErrorOfExit({"E0692", "the coordinator ended at its start" + last_words, "", "",
                      "Look into logs/rungd.log in the state directory"},
                     exit_code);
}

void Pause(absl::Duration duration) {
  poll(nullptr, 0, static_cast<int>(absl::ToInt64Milliseconds(duration)));
}

// One that was started for reading makes room for one that writes.
void EndReader(Client reader_in, Clock& clock) {
  std::optional<Client> reader(std::move(reader_in));
  const Endpoint endpoint = reader->endpoint();
  reader->Shutdown(false).IgnoreError();
  reader.reset();  // an idle connection notices the server's good-bye only after five seconds, and the server
                   // waits for it
  const absl::Duration end = clock.Steady() + kHelloDeadline;
  while (!ProvedDead(endpoint) && clock.Steady() < end) Pause(kLookEvery);
}

// What a rungd that ended at its start said (the last of `log`), with its exit code's status.
absl::Status StartError(const StateDir& dir, const std::string& log, int wait_status) {
  const auto output = ReadFile(log, int64_t{1} << 20);
  if (WIFSIGNALED(wait_status)) {
    return MakeError(absl::StatusCode::kInternal,
                     {"E0692", "the coordinator died at its start: " + ExitText(wait_status), dir.root,
                      output.value_or(""), "Look into " + dir.logs() + "/rungd.log"});
  }
  return WithWhere(ParsedError(output.value_or(""), WEXITSTATUS(wait_status)), dir.root);
}

// One attempt; what may pass while one coordinator follows another is for the caller to wait out.
absl::StatusOr<Client> TryReach(const StateDir& dir, Access access, Clock& clock) {
  absl::StatusOr<Client> living = ReachLiving(dir, kHelloDeadline);
  if (living.ok() && (access == Access::kRead || !living->hello().offline())) return living;
  if (!living.ok() && living.status().code() != absl::StatusCode::kNotFound) return living;
  if (living.ok()) EndReader(*std::move(living), clock);
  CoordinatorStart start;
  start.only_reads = access == Access::kRead;
  start.flags = access == Access::kRead ? std::vector<std::string>{"--offline"}
                                        : std::vector<std::string>{"--idle-exit", "60s"};
  pid_t child = 0;
  return StartCoordinator(dir, start, clock, &child);
}

// On another host nobody can tell a coordinator that is gone from one that is slow.
bool LivesElsewhere(const StateDir& dir) {
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(dir);
  const ProcessIdentity self = ThisProcess();
  return endpoint.ok() && (endpoint->host != self.host || endpoint->boot_id != self.boot_id);
}

bool HasNewEndpoint(const StateDir& dir) {
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(dir);
  return endpoint.ok() && !ProvedDead(*endpoint) && access(endpoint->unix_path.c_str(), F_OK) == 0;
}

// By a command without --dir.
bool IsFoundHere(const StateDir& dir) {
  const std::optional<StateDir> here = FindStateDir("");
  return here.has_value() && here->root == dir.root;
}

}  // namespace

absl::StatusOr<StateDir> ExistingStateDir(const std::string& dir_flag) {
  const std::optional<StateDir> dir = FindStateDir(dir_flag);
  if (dir.has_value()) {
    // Whatever a coordinator made first, or left: any other directory would become one by being asked about.
    for (const std::string& path : {dir->lock_directory(), dir->database(), dir->status()}) {
      std::error_code error;
      if (std::filesystem::exists(path, error)) return *dir;
      if (error == std::errc::permission_denied) {
        return MakeError(absl::StatusCode::kPermissionDenied,
                         {"E0690", "this state directory is another's: you may not look into it", dir->root,
                          dir_flag, "Ask its owner, or give the --dir of your own"});
      }
    }
  }
  if (!dir_flag.empty()) {
    std::error_code unknown;
    const bool there = std::filesystem::exists(dir->root, unknown);
    return MakeError(
        absl::StatusCode::kNotFound,
        {"E0690",
         there ? "this is no state directory: no coordinator ever used it" : "there is no such directory",
         dir->root, dir_flag,
         "Give the `.rung` that `rung run` made beside the study file, or start a study with `rung run "
         "STUDY.json --dir DIR`"});
  }
  return MakeError(
      absl::StatusCode::kNotFound,
      {"E0690", "there is no state directory here", dir.has_value() ? dir->root : AbsolutePath("."), dir_flag,
       "Type it in a directory that has `.rung` or below it (where the study "
       "file is, if `rung run` made `.rung` beside it), give --dir DIR, set RUNG_DIR, or "
       "start a study with `rung run STUDY.json`"});
}

absl::StatusOr<StateDir> StateDirFor(const std::string& dir_flag, const std::string& study_file) {
  StateDir dir;
  if (const std::optional<StateDir> found = FindStateDir(dir_flag); found.has_value()) {
    dir = *found;
  } else {
    dir.root = std::filesystem::path(AbsolutePath(study_file)).parent_path().string() + "/.rung";
  }
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir.root));
  return dir;
}

std::string DirOptionFor(const Context& context, const StateDir& dir) {
  if (!context.dir_flag.empty()) return context.DirOption();
  return IsFoundHere(dir) ? "" : " --dir " + dir.root;
}

void TellStateDir(const StateDir& dir, const std::string& study_file) {
  if (!IsFoundHere(dir)) {
    PrintNote("the state directory is " + dir.root + ": commands typed here need --dir " + dir.root);
    return;
  }
  if (std::filesystem::path(dir.root).parent_path() ==
      std::filesystem::path(AbsolutePath(study_file)).parent_path())
    return;
  const char* variable = std::getenv("RUNG_DIR");
  const bool named = variable != nullptr && *variable != '\0';
  PrintNote("the state directory is " + dir.root +
            (named ? ", as RUNG_DIR says" : ", the nearest .rung in this directory or above it"));
}

absl::StatusOr<Client> ReachLiving(const StateDir& dir, absl::Duration deadline) {
  RUNG_ASSIGN_OR_RETURN(const Endpoint endpoint, ReadEndpoint(dir));
  const absl::Status none = MakeError(absl::StatusCode::kNotFound,
                                      {"E0611", "no coordinator lives in this state directory", dir.root, "",
                                       "Start one with `rung serve` or `rung run STUDY.json`"});
  if (ProvedDead(endpoint)) return none;
  absl::StatusOr<Client> client = Client::Connect(dir, endpoint, deadline);
  if (client.ok() || client.status().code() != absl::StatusCode::kUnavailable) return client;
  if (ProvedDead(endpoint)) return none;  // it ended meanwhile
  return Unreachable(dir, absl::StrFormat("process %d on %s", endpoint.pid, endpoint.host));
}

namespace {

// As StartCoordinator. `killed`: it died of SIGKILL before it answered.
absl::StatusOr<Client> StartOnce(const StateDir& dir, const CoordinatorStart& start, Clock& clock,
                                 pid_t* child, bool& killed) {
  // No more than the directory itself: rungd looks at what is in it, and whose it is, before it adds
  // anything.
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir.root));
  const StartLog log(dir);
  ChildOptions options;
  options.argv = {BesideThisProgram("rungd"), "--dir", dir.root};
  options.argv.insert(options.argv.end(), start.flags.begin(), start.flags.end());
  options.environment = {{kErrorFormatVariable, "json"}};
  options.output_path = log.path();
  options.truncate_output = true;
  options.die_with_parent = start.die_with_parent;
  RUNG_ASSIGN_OR_RETURN(*child, Spawn(options));
  const absl::Duration end = clock.Steady() + kStartDeadline;
  while (clock.Steady() < end) {
    const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(dir);
    if (endpoint.ok() && endpoint->pid == *child && !ProvedDead(*endpoint)) {
      absl::StatusOr<Client> client = Client::Connect(dir, *endpoint, kHelloDeadline);
      if (client.ok()) log.Keep();
      if (client.ok() || client.status().code() != absl::StatusCode::kUnavailable) return client;
    }
    int wait_status = 0;
    if (waitpid(*child, &wait_status, WNOHANG) == *child) {
      *child = 0;
      killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
      // 75: another one holds the directory. 0: it gave way before we reached it.
      const bool passed = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
      const absl::Status error = passed ? HandOver(dir) : StartError(dir, log.path(), wait_status);
      if (!passed && ExitCode(error) != kHeldExitCode) return error;
      absl::StatusOr<Client> other = ReachLiving(dir, kHelloDeadline);
      if (!other.ok()) return error;
      // One that only reads is no help to who wants to write: it gives way, but not to the one that just
      // ended.
      if (other->hello().offline() && !start.only_reads) return HandOver(dir);
      return other;
    }
    Pause(kLookEvery);
  }
  kill(*child, SIGTERM);
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0693", "the coordinator did not come up within " + DurationText(kStartDeadline),
                    log.path(), "", "Look into " + dir.logs() + "/rungd.log"});
}

}  // namespace

absl::StatusOr<Client> StartCoordinator(const StateDir& dir, const CoordinatorStart& start, Clock& clock,
                                        pid_t* child) {
  bool killed = false;
  absl::StatusOr<Client> client = StartOnce(dir, start, clock, child, killed);
  // By somebody, or for want of memory: not for what it found, so the next one may live.
  if (!client.ok() && killed) client = StartOnce(dir, start, clock, child, killed);
  return client;
}

absl::StatusOr<Client> Reach(const StateDir& dir, Access access, Clock& clock,
                             const std::function<void()>& before_note) {
  const absl::Duration begin = clock.Steady();
  absl::Duration pause = kFirstPause;
  bool noted = false;
  while (true) {
    absl::StatusOr<Client> client = TryReach(dir, access, clock);
    if (client.ok()) {
      client->OnEnd([dir, access, &clock, before_note] { return Reach(dir, access, clock, before_note); });
    }
    if (client.ok() || !MayPass(client.status())) return client;
    const absl::Duration waited = clock.Steady() - begin;
    const auto detail = GetErrorDetail(client.status()).value_or(ErrorDetail{});
    if (waited > (LivesElsewhere(dir) ? kRemotePatience : kPatience)) {
      return detail.code == "E0691" ? client.status() : Unreachable(dir, detail.message);
    }
    if (!noted && waited > kNoteAfter) {
      if (before_note) before_note();
      PrintNote("waiting for the coordinator to answer or to end" +
                (detail.value.empty() ? "" : ": " + Printable(detail.value)));
      noted = true;
    }
    // A new process a time is not needed to see that one has come up.
    const absl::Duration look_until = clock.Steady() + pause;
    do {
      if (AskedToEnd()) return client;
      Pause(kLookEvery);
    } while (clock.Steady() < look_until && !HasNewEndpoint(dir));
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::StatusOr<std::string> FindHindrance(Client& client, const v1::StudyStatus& study) {
  if (IsOver(study) || study.state() == "paused") return std::string();
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::WorkerRow> workers, client.ListWorkers());
  RUNG_ASSIGN_OR_RETURN(const std::vector<v1::StudyStatus> studies, client.ListStudies());
  return Hindrance(study, workers, studies);
}

std::string LastKnownStatus(const StateDir& dir, bool json, absl::Time now) {
  const auto bytes = ReadFile(dir.status(), kStatusLimit);
  if (!bytes.ok()) return "";
  const Json status = Json::parse(*bytes, nullptr, false);
  if (!status.is_object()) return "";
  if (json) return status.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const std::string written = status.value("written_at", "");
  absl::Time at;
  std::string text = "Last known state, written " + written;
  if (absl::ParseTime(absl::RFC3339_full, written, &at, nullptr))
    text += " (" + DurationText(now - at) + " ago)";
  text += ":\n";
  if (!status.contains("studies") || !status["studies"].is_array()) return text;
  Table table({"id", "study", "state", "message"});
  for (const Json& study : status["studies"]) {
    if (!study.is_object()) continue;
    const Json id = study.value("id", Json(nullptr));
    table.AddRow({id.is_string() ? id.get<std::string>() : id.dump(), study.value("name", ""),
                  study.value("state", ""), study.value("message", "")});
  }
  return text + table.Text(FindTerminal());
}

}  // namespace rung
