// rung slurm submit: checks the study, stores it, and hands jobs to Slurm (deploy/slurm/).
#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/plan.h"
#include "cli/slurm_commands.h"
#include "cli/slurm_job.h"
#include "cli/slurm_site.h"
#include "cli/slurm_tools.h"
#include "cli/study_file.h"
#include "cli/views.h"
#include "search/same_name.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

constexpr absl::Duration kReachDeadline = absl::Seconds(5);
constexpr absl::Duration kShutdownWait = absl::Seconds(20);
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);
constexpr int kLongestChain = 100;
constexpr int64_t kStoredStudyLimit = int64_t{4} << 20;

struct SubmitFlags {
  std::string study_file;
  int workers = 1;
  int chain = 1;
  bool until_done = false;
  bool elastic = false;
  bool dry_run = false;
  bool no_check = false;
  SiteFlags site;
};

// Where the state directory is or would be. Nothing is made, so that --dry-run leaves no trace, but for a
// workspace that WORKSPACE makes: only its command knows where that will be.
absl::StatusOr<StateDir> PlannedStateDir(const Context& context, const SubmitFlags& flags,
                                         const std::string& study) {
  if (std::optional<StateDir> found = FindStateDir(context.dir_flag); found.has_value()) return *found;
  const StateDir beside{std::filesystem::path(AbsolutePath(flags.study_file)).parent_path().string() +
                        "/.rung"};
  if (flags.site.cluster_file.empty()) return beside;
  RUNG_ASSIGN_OR_RETURN(const SlurmRequest request, SiteRequest(flags.site, beside));
  if (request.workspace.empty()) return beside;
  RUNG_ASSIGN_OR_RETURN(const std::string workspace, MakeWorkspace(request.workspace));
  return StateDir{workspace + "/" + study + ".rung"};
}

// A coordinator that works elsewhere keeps the directory: the job's own could only end with 75. One that only
// reads gives way, and one that does not answer is StoreStudy's to wait for.
absl::Status RefuseBusy(const StateDir& dir) {
  absl::StatusOr<Client> client = ReachLiving(dir, kReachDeadline);
  if (!client.ok() || client->hello().offline()) return absl::OkStatus();
  const absl::StatusOr<std::vector<v1::WorkerRow>> workers = client->ListWorkers();
  if (!workers.ok()) return absl::OkStatus();
  for (const v1::WorkerRow& worker : *workers) {
    if (worker.state() == "gone" || worker.state() == "lost") continue;
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0805", "a coordinator with workers already serves this state directory", dir.root,
         client->endpoint().host, "Let it finish, end it (scancel, Ctrl-C), or give another --dir"});
  }
  return absl::OkStatus();
}

// Where the queue cannot be read sbatch will say so.
absl::Status RefuseQueued(const StateDir& dir, const std::string& study, const std::string& option) {
  std::map<std::string, std::vector<NotedJob>> noted;
  std::vector<int64_t> numbers;
  for (const std::string& owner : StudiesWithJobs(dir)) {
    noted[owner] = NotedJobs(dir, owner);
    for (const NotedJob& job : noted[owner]) numbers.push_back(job.number);
  }
  const absl::StatusOr<std::vector<QueuedJob>> queued = FindInQueue(numbers);
  return queued.ok() ? RefuseSecondJob(*queued, noted, study, dir, option) : absl::OkStatus();
}

// Canonical JSON of the study of this name, as the state directory keeps it; nullopt: there is none. No
// coordinator is asked, so that --dry-run starts none.
std::optional<std::string> StoredStudy(const StateDir& dir, const std::string& name) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(dir.root + "/studies", error), end; !error && at != end;
       at.increment(error)) {
    const std::string text = ReadFile(at->path().string() + "/study.json", kStoredStudyLimit).value_or("");
    const nlohmann::json study = ParseJson(text);
    if (study.is_object() && study.value("name", nlohmann::json()) == name)
      return std::string(absl::StripAsciiWhitespace(text));
  }
  return std::nullopt;
}

// The directory, or what there is of the way to it.
std::string ExistingPart(std::filesystem::path path) {
  std::error_code error;
  while (!std::filesystem::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path.string();
}

// What would refuse the submission, as far as Slurm need not be asked. Nothing is stored, and nothing
// started.
absl::Status CheckSubmission(const PreparedStudy& study, const StateDir& dir, const SubmitFlags& flags,
                             const std::string& option) {
  const std::optional<std::string> stored = StoredStudy(dir, study.spec.name);
  // Otherwise the coordinator says it: the file may be of a study that a restored database no longer has.
  if (flags.dry_run && stored.has_value() && *stored != study.canonical_json)
    return NameTaken(study.spec.name, study.path, *stored, study.canonical_json);
  if (!flags.no_check && !stored.has_value())
    RUNG_RETURN_IF_ERROR(CheckDisk(study, flags.workers, ExistingPart(dir.root)));
  RUNG_RETURN_IF_ERROR(RefuseQueued(dir, study.spec.name, option));
  return RefuseBusy(dir);
}

// The coordinator that stored the study for us ends before the job may start: the directory is the job's
// then.
absl::Status EndCoordinator(Client& client, Clock& clock) {
  RUNG_RETURN_IF_ERROR(client.Shutdown(/*drain=*/false));
  const absl::Duration end = clock.Steady() + kShutdownWait;
  while (!ProvedDead(client.endpoint()) && clock.Steady() < end) {
    usleep(static_cast<useconds_t>(absl::ToInt64Microseconds(kLookEvery)));
  }
  return absl::OkStatus();  // one that lingers gives way to the job's by itself
}

// The study as status.json tells it, if it is the same; else `failure`. Its coordinator may have died on
// another host, which nobody here can prove: the job's own takes over when that one has been silent for 30 s.
absl::StatusOr<v1::StudyStatus> StoredBefore(const PreparedStudy& study, const StateDir& dir, Clock& clock,
                                             const absl::Status& failure) {
  const absl::StatusOr<KnownStudy> known = LookAtStudy(dir, study.spec.name, clock);
  v1::StudyStatus status;
  const bool read =
      known.ok() && google::protobuf::util::JsonStringToMessage(known->study.dump(), &status).ok();
  if (!read || status.canonical_json() != study.canonical_json) return failure;
  PrintNote("no coordinator answers; that of the job takes over when the last one has been silent for 30 s");
  return status;
}

// Creates the study in the state directory, or finds the same one: submitting again goes on with it. A
// coordinator that was there before is left alone: one that was started for another call gives way to the
// job's by itself.
absl::StatusOr<v1::StudyStatus> StoreStudy(const PreparedStudy& study, const StateDir& dir, Clock& clock) {
  const bool lived = ReachLiving(dir, kReachDeadline).ok();
  absl::StatusOr<Client> client = Reach(dir, Access::kWrite, clock);
  if (absl::IsUnavailable(client.status())) return StoredBefore(study, dir, clock, client.status());
  RUNG_RETURN_IF_ERROR(client.status());
  absl::StatusOr<v1::CreateStudyResponse> created =
      client->CreateStudy(CreateRequest(study, /*resume_if_same=*/true));
  if (!lived) RUNG_RETURN_IF_ERROR(EndCoordinator(*client, clock));
  if (!created.ok()) return created.status();
  return created->study();
}

// What one `rung slurm submit` hands to sbatch, in order.
struct Submission {
  SlurmJob job;
  std::vector<std::string> options;  // of sbatch; %d stands for the number of the submission before
};

absl::StatusOr<std::vector<Submission>> Submissions(const SubmitFlags& flags, const std::string& study,
                                                    const StateDir& dir) {
  SlurmJob job;
  job.study_name = study;
  job.state_dir = dir.root;
  job.programs = std::filesystem::path(BesideThisProgram("rungd")).parent_path().string();
  job.workers = flags.workers;
  RUNG_ASSIGN_OR_RETURN(job.request, SiteRequest(flags.site, dir));
  std::vector<Submission> all;
  if (flags.elastic) {
    job.shape = JobShape::kCoordinator;
    all.push_back({job, {}});
    job.shape = JobShape::kWorkers;
    all.push_back({job, {"--dependency=after:%d"}});
    return all;
  }
  if (flags.chain > 1) job.after_limit = AfterLimit::kNext;
  if (flags.until_done) job.after_limit = AfterLimit::kSuccessor;
  all.push_back({job, {}});
  for (int i = 1; i < flags.chain; ++i) all.push_back({job, {"--dependency=afterany:%d"}});
  return all;
}

std::vector<std::string> After(std::vector<std::string> options, const std::string& before) {
  for (std::string& option : options) {
    if (const size_t place = option.find("%d"); place != std::string::npos) option.replace(place, 2, before);
  }
  return options;
}

// Every script, byte for byte; where there are several, below the command that submits each. The command of
// a single one is a note, so that stdout is the script.
absl::Status PrintScripts(const std::vector<Submission>& all) {
  for (size_t i = 0; i < all.size(); ++i) {
    RUNG_ASSIGN_OR_RETURN(const std::string script, JobScript(all[i].job));
    const std::string command =
        "sbatch " +
        absl::StrJoin(SubmitArguments(all[i].job, After(all[i].options, "JOB" + std::to_string(i))), " ");
    if (all.size() > 1) {
      PrintText(absl::StrFormat("#### JOB%d: %s\n", i + 1, command));
    } else {
      PrintNote("would run: " + command);
    }
    PrintText(script);
  }
  return absl::OkStatus();
}

void PrintSubmitted(const Context& context, const v1::StudyStatus& study, const std::vector<int64_t>& jobs,
                    const std::vector<Submission>& all, const StateDir& dir) {
  const std::string log = dir.logs() + "/slurm-" + std::to_string(jobs.front()) + ".log";
  if (context.format == Format::kJson) {
    PrintJson({{"schema", 1},
               {"job", jobs.front()},
               {"jobs", jobs},
               {"study", study.id()},
               {"name", study.name()},
               {"dir", dir.root},
               {"script", all.front().job.script_path()},
               {"log", log}});
    return;
  }
  std::string text = jobs.size() == 1 ? "Submitted job" : "Submitted jobs";
  for (const int64_t job : jobs) text += " " + std::to_string(job);
  const std::string tail = Printable(study.name()) + " --dir " + dir.root + "\n";
  PrintText(text + " for study " + Printable(study.name()) + ".\n  log     " + log +
            "\n  queue   rung slurm status " + tail + "  watch   rung study watch " + tail +
            "  cancel  rung slurm cancel " + tail);
}

absl::Status CheckFlags(const SubmitFlags& flags) {
  if (!flags.elastic || (flags.chain == 1 && !flags.until_done)) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0107", "--elastic jobs requeue themselves at their time limit: they need no chain", "command line",
       flags.until_done ? "--until-done" : "--chain", "Leave --chain and --until-done out, or --elastic"});
}

// Each kind of job once: those of a chain are alike. Notes what sbatch says of one that would wait for ever.
absl::Status TestJobs(const std::vector<Submission>& all) {
  for (const Submission& submission : all) {
    if (&submission != &all.front() && submission.job.shape == all.front().job.shape) continue;
    RUNG_ASSIGN_OR_RETURN(const std::string said, TestJob(submission.job));
    if (!said.empty())
      PrintNote(Printable(said) +
                ": it waits until there are such nodes. If the cluster has none, ask for less "
                "(`rung slurm doctor` shows what it has)");
  }
  return absl::OkStatus();
}

// A failure after the study was stored.
absl::Status WithStored(const absl::Status& failure, const std::string& study) {
  std::optional<ErrorDetail> detail = GetErrorDetail(failure);
  if (!detail.has_value()) return failure;
  detail->mend +=
      ". Study " + study +
      " is stored and trains nothing yet: submit the same file again; a changed one needs another "
      "\"name\"";
  return MakeError(failure.code(), *std::move(detail));
}

// The error of a submission after others have been taken: alone they would be of no use.
absl::Status TakenBack(const absl::Status& failure, const std::vector<int64_t>& jobs) {
  std::optional<ErrorDetail> detail = GetErrorDetail(failure);
  if (!detail.has_value()) return failure;
  const std::string numbers = absl::StrJoin(jobs, " ");
  std::vector<std::string> argv = {"scancel"};
  for (const int64_t job : jobs) argv.push_back(std::to_string(job));
  detail->mend += RunSlurmTool(argv).ok() ? ". Taken back: " + numbers
                                          : ". Queued already: take it back with scancel " + numbers +
                                                ", or it starts without the others";
  return MakeError(failure.code(), *std::move(detail));
}

// Of two submissions of one directory the second sees the jobs of the first. Where it cannot be locked they
// take their chance: the directory's own lock admits one coordinator.
class OneAtATime {
 public:
  explicit OneAtATime(const StateDir& dir)
      : file_(open(dir.logs().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file_ >= 0) flock(file_, LOCK_EX);
  }
  ~OneAtATime() {
    if (file_ >= 0) close(file_);
  }
  OneAtATime(const OneAtATime&) = delete;
  OneAtATime& operator=(const OneAtATime&) = delete;

 private:
  const int file_;
};

// The job serves the directory, and so every study in it that is not over.
void NoteOthers(const Context& context, const StateDir& dir, const std::string& study) {
  for (const OrderedJson& other : ReadWrittenStudies(dir).studies) {
    const std::string name = other.value("name", std::string()), state = other.value("state", std::string());
    if (name == study || state != "running") continue;
    PrintNote("the job trains study " + Printable(name) + " of this directory as well: `rung study pause " +
              Printable(name) + DirOptionFor(context, dir) + "`, or give this one a --dir of its own");
  }
}

absl::StatusOr<int> Submit(const SubmitFlags& flags, const Context& context) {
  RUNG_RETURN_IF_ERROR(CheckFlags(flags));
  RUNG_ASSIGN_OR_RETURN(const PreparedStudy study, PrepareStudy(flags.study_file, !flags.no_check));
  for (const std::string& note : NotesOf(study)) PrintNote(note);
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, PlannedStateDir(context, flags, study.spec.name));
  RUNG_ASSIGN_OR_RETURN(const std::vector<Submission> all, Submissions(flags, study.spec.name, dir));
  for (const Submission& submission : all) RUNG_RETURN_IF_ERROR(JobScript(submission.job).status());
  RUNG_RETURN_IF_ERROR(CheckSubmission(study, dir, flags, DirOptionFor(context, dir)));
  const absl::Status tested = TestJobs(all);
  if (flags.dry_run) {
    RUNG_RETURN_IF_ERROR(PrintScripts(all));
    // The scripts are worth looking at where there is no Slurm, too.
    if (!tested.ok()) PrintNote("from here `submit` would fail: " + Printable(std::string(tested.message())));
    return 0;
  }
  RUNG_RETURN_IF_ERROR(tested);
  RUNG_RETURN_IF_ERROR(MakeDirectories(dir.logs()));
  const OneAtATime turn(dir);
  RUNG_RETURN_IF_ERROR(RefuseQueued(dir, study.spec.name, DirOptionFor(context, dir)));
  RUNG_ASSIGN_OR_RETURN(const v1::StudyStatus stored, StoreStudy(study, dir, context.clock));
  if (IsOver(stored)) {
    PrintNote("Study " + Printable(stored.name()) + " is " + stored.state() +
              ": there is nothing to submit. See `rung study best " + Printable(stored.name()) +
              DirOptionFor(context, dir) + "`.");
    return 0;
  }
  if (stored.state() == "paused") {
    return MakeError(
        absl::StatusCode::kFailedPrecondition,
        {"E0810", "the study is paused, and its workers would find no work", dir.root, stored.name(),
         "Type `rung study resume " + Printable(stored.name()) + DirOptionFor(context, dir) +
             "`, then submit it again"});
  }
  NoteOthers(context, dir, stored.name());
  std::vector<int64_t> jobs;
  for (const Submission& submission : all) {
    const std::string before = jobs.empty() ? "" : std::to_string(jobs.back());
    const absl::StatusOr<int64_t> number = SubmitJob(submission.job, After(submission.options, before));
    if (!number.ok() && !jobs.empty()) return TakenBack(number.status(), jobs);
    if (!number.ok()) return WithStored(number.status(), stored.name());
    jobs.push_back(*number);
  }
  PrintSubmitted(context, stored, jobs, all, dir);
  return 0;
}

}  // namespace

void AddSlurmSubmitCommand(CLI::App& slurm, Context& context) {
  CLI::App& submit = *slurm.add_subcommand(
      "submit",
      "Submit one job with the coordinator and the workers; submitting the same study again goes on with it");
  submit.footer(
      "Example:\n  rung slurm submit gnad10.json --workers 4 --time 08:00:00\n"
      "  rung slurm submit gnad10.json --workers 64 --elastic    (workers join as the queue lets them)");
  auto flags = std::make_shared<SubmitFlags>();  // owners: the parser's options and the action
  submit.add_option("study", flags->study_file, "Study file")->required();
  submit.add_option("--workers", flags->workers, "Workers, one per task")->capture_default_str();
  submit.add_flag(
      "--elastic", flags->elastic,
      "A job for the coordinator and an array of workers, which start one by one and can be scaled");
  const auto chain =
      submit
          .add_option(
              "--chain", flags->chain,
              "So many jobs, each after the one before: for studies longer than the longest time limit")
          ->check(CLI::Range(1, kLongestChain));
  submit
      .add_flag("--until-done", flags->until_done,
                "Each job submits the next one when it starts, until the study is done")
      ->excludes(chain);
  submit.add_flag(
      "--dry-run", flags->dry_run,
      "Check as for a submission, print the scripts and the commands that would submit them, and do "
      "nothing else");
  submit.add_flag("--no-check", flags->no_check, "Do not read data and model before submitting");
  AddSiteFlags(submit, flags->site);
  submit.callback(
      [flags, &context] { context.action = [flags, &context] { return Submit(*flags, context); }; });
}

}  // namespace rung
