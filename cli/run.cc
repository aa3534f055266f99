// rung run STUDY.json: coordinator, workers and live progress in one command, until the study is done.
#include <signal.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/outcome.h"
#include "cli/plan.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/study_file.h"
#include "cli/supervisor.h"
#include "proto/endpoint.h"

namespace rung {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(250);
constexpr absl::Duration kHindranceEvery = absl::Seconds(5);
constexpr absl::Duration kDrainPatience =
    absl::Seconds(40);  // a trainer gets 30 s between SIGTERM and SIGKILL
constexpr int kHandOvers = 3;
constexpr size_t kOthersNamed = 5;
constexpr absl::Duration kEndPatience = absl::Seconds(10);

struct Options {
  std::string file;
  int workers = 0;  // 0: not said
  bool no_check = false;
};

// One `rung run` from its first contact with the coordinator on.
class RunSession {
 public:
  RunSession(Context& context, const Options& options, PreparedStudy study, StateDir dir)
      : context_(context),
        options_(options),
        study_(std::move(study)),
        dir_(std::move(dir)),
        signals_({SIGINT, SIGTERM, SIGHUP, SIGCHLD}),
        supervisor_(dir_, context.clock),
        pace_(context.clock),
        live_(context.format == Format::kTable ? context.terminal : Terminal{}) {}

  absl::StatusOr<int> Run() {
    absl::Status status = ConnectAndOpen();
    // A coordinator may end just now: another's, and the study becomes ours, or our own, killed by somebody.
    for (int i = 0; i < kHandOvers && MayPass(status); ++i) {
      const bool ours = supervisor_.owns_coordinator();
      if (!supervisor_.LostCoordinator()) break;
      if (AskedToEnd()) return InterruptedAtStart(ours);
      supervisor_.Forget();
      status = ConnectAndOpen();
    }
    if (!status.ok()) {
      supervisor_.EndCoordinator(kEndPatience);
      return status;
    }
    if (!IsOver(status_)) {
      TellOfOthers();
      RUNG_RETURN_IF_ERROR(StartWorkers());
      RUNG_ASSIGN_OR_RETURN(const int exit_code, WatchUntilOver());
      if (exit_code != 0) return exit_code;
    }
    return Finish();
  }

 private:
  absl::Status ConnectAndOpen() {
    RUNG_RETURN_IF_ERROR(supervisor_.Connect());
    return Open();
  }

  // Only of a study that is new here: one that goes on has its checkpoints already.
  absl::Status CheckRoom(Client& client) {
    if (options_.no_check) return absl::OkStatus();
    RUNG_ASSIGN_OR_RETURN(const std::vector<v1::StudyStatus> studies, client.ListStudies());
    for (const auto& study : studies) {
      if (study.name() == study_.spec.name) return absl::OkStatus();
    }
    return CheckDisk(study_, options_.workers > 0 ? options_.workers : DefaultWorkers(), dir_.root);
  }

  absl::Status Open() {
    RUNG_ASSIGN_OR_RETURN(Client * client, supervisor_.client());
    RUNG_RETURN_IF_ERROR(CheckRoom(*client));
    RUNG_ASSIGN_OR_RETURN(const auto response, client->CreateStudy(CreateRequest(study_, true)));
    status_ = response.study();
    if (status_.state() == "paused") {
      RUNG_ASSIGN_OR_RETURN(status_, client->SetStudyState(status_.id(), "running", NewRequestId()));
    }
    if (response.created()) return absl::OkStatus();
    if (IsOver(status_)) {
      PrintNote(
          absl::StrFormat("study %s was over before (%s): nothing runs, its result is shown again; give the "
                          "file another \"name\" "
                          "to run it anew",
                          Printable(status_.name()), status_.state()));
    } else {
      PrintNote("going on with study " + Printable(status_.name()));
    }
    return absl::OkStatus();
  }

  // Studies of one directory share its workers: those of a study that was interrupted before, too.
  void TellOfOthers() {
    const absl::StatusOr<Client*> client = supervisor_.client();
    if (!client.ok()) return;
    const absl::StatusOr<std::vector<v1::StudyStatus>> studies = (*client)->ListStudies();
    if (!studies.ok()) return;
    std::string names, pauses;
    for (const v1::StudyStatus& study : *studies) {
      if (study.id() == status_.id() || study.state() != "running") continue;
      shared_with_.push_back(study.name());
      if (shared_with_.size() > kOthersNamed) continue;
      const std::string name = Printable(study.name());
      names += (names.empty() ? "" : ", ") + name;
      pauses +=
          (pauses.empty() ? "" : ", ") + ("`rung study pause " + name + DirOptionFor(context_, dir_) + "`");
    }
    if (shared_with_.empty()) return;
    if (shared_with_.size() > kOthersNamed)
      names += absl::StrFormat(" and %d more (`rung study list`)", shared_with_.size() - kOthersNamed);
    PrintNote("the workers of this state directory also train " + names +
              ", not over yet; to train this study alone: " + pauses);
  }

  // Another's coordinator has its own workers; ours come on top only if they were asked for, or if there are
  // none.
  absl::Status StartWorkers() {
    int count = options_.workers > 0 ? options_.workers : DefaultWorkers();
    std::string prefix;
    if (!supervisor_.owns_coordinator()) {
      RUNG_ASSIGN_OR_RETURN(Client * client, supervisor_.client());
      RUNG_ASSIGN_OR_RETURN(const std::vector<v1::WorkerRow> workers, client->ListWorkers());
      int living = 0;
      for (const auto& worker : workers)
        living += worker.state() == "idle" || worker.state() == "busy" ? 1 : 0;
      if (living > 0 && options_.workers == 0) count = 0;
      prefix = "run" + std::to_string(getpid()) + "-";
      PrintNote(absl::StrFormat("attached to the coordinator of process %d on %s, which has %s; %s",
                                client->endpoint().pid, client->endpoint().host, Counted(living, "worker"),
                                count > 0 ? Counted(count, "worker") + " more of this command"
                                          : "none is added (--workers N adds)"));
    }
    return supervisor_.StartWorkers(count, prefix);
  }

  // 0: the study is over; 130: interrupted.
  absl::StatusOr<int> WatchUntilOver() {
    Show();
    while (!IsOver(status_)) {
      absl::Duration patience = kLookEvery;
      if (const auto due = supervisor_.NextDue(); due.has_value()) {
        patience = std::min(patience, std::max(*due - context_.clock.Steady(), absl::Milliseconds(1)));
      }
      const std::optional<int> signal = signals_.Wait(patience);
      if (signal.has_value() && *signal != SIGCHLD) return Interrupted();
      RUNG_RETURN_IF_ERROR(Fatal(supervisor_.Reap()));
      RUNG_RETURN_IF_ERROR(Fatal(supervisor_.StartDue()));
      if (const std::string notice = supervisor_.TakeNotice(); !notice.empty()) {
        live_.Leave();
        PrintNote(Printable(notice));
      }
      RUNG_RETURN_IF_ERROR(Look());
      if (!IsOver(status_) && supervisor_.LeftForJobEnd()) {
        return Interrupted("the Slurm job ends: its workers have left, with their checkpoints written");
      }
      if (looked_) RUNG_RETURN_IF_ERROR(Fatal(TakeOver()));
      Show();
    }
    return 0;
  }

  // Another's coordinator ended, and its workers with it: now the study is ours, and needs workers.
  absl::Status TakeOver() {
    if (IsOver(status_) || !supervisor_.owns_coordinator() || supervisor_.has_workers())
      return absl::OkStatus();
    live_.Leave();
    PrintNote("the other coordinator ended: the study goes on here");
    return StartWorkers();
  }

  absl::Status Look() {
    looked_ = false;
    const absl::StatusOr<Client*> client = supervisor_.client();
    if (!client.ok()) return absl::OkStatus();  // it is being started again; children's budgets bound that
    absl::StatusOr<v1::StudyStatus> status = (*client)->GetStudy(status_.id());
    if (!status.ok()) {
      supervisor_.Forget();
      const bool passing =
          MayPass(status.status()) || status.status().code() == absl::StatusCode::kUnavailable;
      return passing ? absl::OkStatus() : Fatal(status.status());
    }
    status_ = *std::move(status);
    looked_ = true;
    LookForHindrance(**client);
    return PausedItself();
  }

  // Nothing more comes of a study that paused itself until somebody mends what it names; one that somebody
  // paused is waited for.
  absl::Status PausedItself() {
    if (status_.state() != "paused" || status_.message() == "on request" || status_.running_attempts() > 0)
      return absl::OkStatus();
    const std::string message = "the study was paused: " + Printable(status_.message());
    // As worker/trainer_child.h words it.
    for (const char* words : {"bad data: there is no program", "bad data: there is no script",
                              "bad data: cannot start", "bad data: cannot enter"}) {
      if (!absl::StartsWith(status_.message(), words)) continue;
      return Fatal(MakeError(absl::StatusCode::kInvalidArgument,
                             {"E0387",
                              "the study was paused, as no worker can run its trainer: " +
                                  Printable(status_.message().substr(sizeof("bad data: ") - 1)),
                              options_.file, "",
                              "Install it where the workers run and go on with `" + ResumeCommand() +
                                  "`, or give the mended trainer a study of another name"}));
    }
    if (absl::StartsWith(status_.message(), "bad data")) {  // as search/study.h words it
      return Fatal(MakeError(absl::StatusCode::kInvalidArgument,
                             {"E0387", message, options_.file, "",
                              "Put the file back as it was when the study was made and go on with `" +
                                  ResumeCommand() + "`, or give the mended data a study of another name"}));
    }
    return Fatal(MakeError(
        absl::StatusCode::kInternal,
        {"E0389", message, options_.file, "",
         "Look at `rung trial logs` of the last trials and at the machines' disks and memory; then go "
         "on with `" +
             ResumeCommand() + "`"}));
  }

  // Its own workers come up by themselves; another study's are not ours to wait for in silence.
  void LookForHindrance(Client& client) {
    const absl::Duration now = context_.clock.Steady();
    if (now < next_hindrance_) return;
    next_hindrance_ = now + kHindranceEvery;
    std::string found = FindHindrance(client, status_).value_or("");
    if (found == kNoWorkers && supervisor_.has_workers()) found.clear();
    if (found == std::exchange(hindrance_, found) || found.empty()) return;
    pace_.Hasten();  // said at once
  }

  // What ends `rung run` ends its children first.
  absl::Status Fatal(const absl::Status& status) {
    if (status.ok()) return status;
    live_.Leave();
    Drain();
    supervisor_.EndCoordinator(kEndPatience);
    return status;
  }

  void Show() {
    if (context_.terminal.out_is_tty && context_.format == Format::kTable) {
      live_.Draw(ProgressLines(status_, study_.spec, FindTerminal().width, hindrance_));
    } else if (pace_.Due()) {
      PrintNote(ProgressLine(status_, study_.spec, hindrance_));
    }
  }

  // What Ctrl-C ends is what this command started.
  std::string EndingText() const {
    const int workers = supervisor_.workers_alive();
    const std::string ours = Counted(workers, "worker") + " of this command";
    if (supervisor_.owns_coordinator()) {
      const std::string all = workers == 0
                                  ? "the coordinator of this command ends"
                                  : "the coordinator and the " + ours +
                                        " end, with checkpoints written (Ctrl-C again kills the workers)";
      return "stopping: " + all + "; the study waits for `" + ResumeCommand() + "`";
    }
    const std::string leaving = "leaving: the study goes on, its coordinator is not of this command";
    if (workers == 0) return leaving + ", and neither are its workers";
    return leaving + "; the " + ours + " end, with checkpoints written (Ctrl-C again kills them)";
  }

  // `why`: empty where somebody asked for it.
  int Interrupted(const std::string& why = "") {
    live_.Leave();
    PrintNote(why.empty() ? EndingText() : why);
    Drain();
    const bool ours = supervisor_.owns_coordinator();
    supervisor_.EndCoordinator(kEndPatience);
    PrintNote(ours ? "Stopped. Every result is kept; go on with:"
                   : "The study goes on without you; watch it again with:");
    PrintNote("  " + (ours ? ResumeCommand() : WatchCommand()));
    return 130;
  }

  int InterruptedAtStart(bool ours) const {
    PrintNote(
        ours ? "stopping: the coordinator of this command was killed, and nothing trains here; go on with:"
             : "stopping: this command has started nothing yet; go on with:");
    PrintNote("  " + ResumeCommand());
    return 130;
  }

  void Drain() {
    supervisor_.DrainWorkers();
    const absl::Duration end = context_.clock.Steady() + kDrainPatience;
    while (!supervisor_.AllWorkersEnded()) {
      const std::optional<int> signal = signals_.Wait(absl::Milliseconds(100));
      const bool again = signal.has_value() && *signal != SIGCHLD;
      if (again || context_.clock.Steady() > end) supervisor_.KillWorkers();
      supervisor_.Reap().IgnoreError();  // no restarts any more: nothing can be one too many
    }
  }

  absl::StatusOr<int> Finish() {
    live_.Clear();
    const bool tty = context_.terminal.out_is_tty && context_.format == Format::kTable;
    if (!tty) PrintNote(ProgressLine(status_, study_.spec));
    absl::StatusOr<Outcome> outcome = ReadResult();
    Drain();
    supervisor_.EndCoordinator(kEndPatience);
    if (!outcome.ok()) return outcome.status();
    if (context_.format == Format::kJson) {
      OrderedJson json = OutcomeJson(*outcome, study_.spec);
      json["workers_shared_with"] = shared_with_;
      PrintJson(json);
    } else {
      PrintText(OutcomeText(*outcome, study_.spec, context_.terminal));
    }
    return status_.state() == "failed" ? 1 : 0;
  }

  // `rungd --exit-when-done` may be gone by now: then one is started for reading.
  absl::StatusOr<Outcome> ReadResult() {
    if (absl::StatusOr<Client*> client = supervisor_.client(); client.ok()) {
      absl::StatusOr<Outcome> outcome = ReadOutcome(**client, status_, study_.spec);
      if (outcome.ok() || !MayPass(outcome.status())) return outcome;
    }
    RUNG_ASSIGN_OR_RETURN(Client reader, Reach(dir_, Access::kRead, context_.clock));
    return ReadOutcome(reader, status_, study_.spec);
  }

  std::string ResumeCommand() const {
    std::string command = "rung run " + options_.file + context_.DirOption();
    if (options_.workers > 0) command += " --workers " + std::to_string(options_.workers);
    return command;
  }

  std::string WatchCommand() const {
    return "rung study watch " + Printable(study_.spec.name) + DirOptionFor(context_, dir_);
  }

  Context& context_;
  const Options& options_;
  const PreparedStudy study_;
  const StateDir dir_;
  Signals signals_;
  Supervisor supervisor_;
  LinePace pace_;
  LiveBlock live_;
  v1::StudyStatus status_;
  std::vector<std::string> shared_with_;  // names of the other studies that ran when this command began
  bool looked_ = false;                   // the last Look() was answered
  std::string hindrance_;                 // cli/views.h
  absl::Duration next_hindrance_ = absl::ZeroDuration();
};

absl::StatusOr<int> Run(Context& context, const Options& options) {
  RUNG_ASSIGN_OR_RETURN(PreparedStudy study, PrepareStudy(options.file, !options.no_check));
  for (const std::string& note : NotesOf(study)) PrintNote(note);
  RUNG_ASSIGN_OR_RETURN(StateDir dir, StateDirFor(context.dir_flag, options.file));
  if (context.dir_flag.empty()) TellStateDir(dir, options.file);
  return RunSession(context, options, std::move(study), std::move(dir)).Run();
}

}  // namespace

void AddRunCommand(CLI::App& app, Context& context) {
  CLI::App& command =
      *app.add_subcommand("run", "Run a study on this machine until it is done, or go on with it");
  command.footer(
      "Ctrl-C ends the coordinator and the workers that it started, with checkpoints written; the same\n"
      "command goes on later. Where the coordinator is another's, the study goes on without this command.\n"
      "Other studies of the state directory that are not over are trained too, unless they are paused.\n"
      "Example:\n  rung run examples/spam/study.json --workers 2");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  command.add_option("FILE", options->file, "Study file (JSON)")->required();
  command.add_option("--workers", options->workers, "Worker processes (default: visible GPUs, else cores)")
      ->check(CLI::Range(1, 1024));
  command.add_flag("--no-check", options->no_check,
                   "Do not read the data and the model's header before starting");
  command.callback(
      [&context, options] { context.action = [&context, options] { return Run(context, *options); }; });
}

}  // namespace rung
