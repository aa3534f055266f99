// rung doctor: looks for what would go wrong, before it does. Exit 9 if something was found. Starts nothing
// but --version. What it found can go into a file for somebody who helps.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "cli/bundle.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/finding.h"
#include "cli/supervisor.h"
#include "cli/views.h"

namespace rung {
namespace {

constexpr double kLittleSpace_bytes = 2e9;
constexpr absl::Duration kHelloDeadline = absl::Seconds(5);

// First line that `program option` prints; error text where it does not run.
absl::StatusOr<std::string> FirstLine(const std::string& program, const std::string& option) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return absl::InternalError("no pipe");
  ChildOptions options;
  options.argv = {program, option};
  options.output_descriptor = ends[1];
  options.die_with_parent = true;
  const absl::StatusOr<pid_t> child = Spawn(options);
  close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer;
  if (child.ok()) {
    for (ssize_t n = read(ends[0], buffer.data(), buffer.size()); n > 0;
         n = read(ends[0], buffer.data(), buffer.size())) {
      text.append(buffer.data(), static_cast<size_t>(n));
    }
  }
  close(ends[0]);
  if (!child.ok()) return child.status();
  int wait_status = 0;
  waitpid(*child, &wait_status, 0);
  text = text.substr(0, text.find('\n'));
  if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
    return absl::InternalError(ExitText(wait_status) + (text.empty() ? "" : ": " + text));
  }
  return text;
}

Finding CheckProgram(const std::string& name) {
  const std::string path = BesideThisProgram(name);
  if (access(path.c_str(), X_OK) != 0) {
    return {name, Verdict::kFail, path + " is not there",
            "Build it with `make`, or install Rung's programs in one directory"};
  }
  // The trainer's version names the LibTorch that it loaded; of the others it is enough that they load.
  const bool trainer = name == "rung-trainer";
  const absl::StatusOr<std::string> version = FirstLine(path, trainer ? "--version" : "--help");
  if (!version.ok()) {
    return {name, Verdict::kFail, path + " does not run: " + std::string(version.status().message()),
            trainer ? "Give it a LibTorch: build with LIBTORCH=DIR; see README.md"
                    : "Build it again with `make`"};
  }
  return {name, Verdict::kOk, trainer ? *version : path, ""};
}

void CheckPrivate(const std::string& path, bool directory, std::vector<Finding>& findings) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return;
  const std::string mode = absl::StrFormat("%o", info.st_mode & 07777U);
  if (info.st_uid != geteuid()) {
    findings.push_back(
        {"owner", Verdict::kFail, path + " belongs to somebody else", "Use a state directory of your own"});
  } else if ((info.st_mode & 077U) != 0) {
    findings.push_back({"mode", Verdict::kFail, path + " has mode " + mode + ": others can read it",
                        std::string("Type `chmod ") + (directory ? "700 " : "600 ") + path + "`"});
  }
}

void CheckSpace(const std::string& path, std::vector<Finding>& findings) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return;
  const double free_bytes = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  Finding finding{"disk", Verdict::kOk, absl::StrFormat("%.1f GB free at %s", free_bytes / 1e9, path), ""};
  if (free_bytes < kLittleSpace_bytes) {
    finding.verdict = Verdict::kWarn;
    finding.mend = "Free some space: every trial keeps checkpoints";
  }
  findings.push_back(std::move(finding));
}

Finding CheckCoordinator(const StateDir& dir) {
  const absl::StatusOr<Client> client = ReachLiving(dir, kHelloDeadline);
  if (client.ok()) {
    return {"coordinator", Verdict::kOk,
            absl::StrFormat("process %d on %s answers%s", client->endpoint().pid, client->endpoint().host,
                            client->hello().offline() ? " (for reading)" : ""),
            ""};
  }
  if (client.status().code() == absl::StatusCode::kNotFound) {
    return {"coordinator", Verdict::kOk, "none lives; commands start one when they need it", ""};
  }
  const auto detail = GetErrorDetail(client.status()).value_or(ErrorDetail{});
  return {"coordinator", Verdict::kFail, detail.message + " " + detail.value, detail.mend};
}

void CheckStateDir(const std::string& dir_flag, std::vector<Finding>& findings) {
  const std::optional<StateDir> dir = FindStateDir(dir_flag);
  if (!dir.has_value() || !std::filesystem::is_directory(dir->root)) {
    findings.push_back({"state directory", Verdict::kOk, "none yet: the first `rung run` makes it", ""});
    CheckSpace(".", findings);
    return;
  }
  findings.push_back({"state directory", Verdict::kOk, dir->root, ""});
  if (const std::string network = NetworkFileSystemAt(dir->root); network == "SMB") {
    findings.push_back({"file system", Verdict::kWarn, "SMB, which does not keep modes and locks",
                        "Use a directory on a local disk, or on NFS where hosts share it"});
  } else if (!network.empty()) {
    findings.push_back({"file system", Verdict::kOk,
                        network + ": hosts may share it; keep a backup on another disk "
                                  "(`rung backup create --to FILE`)",
                        ""});
  }
  CheckPrivate(dir->root, true, findings);
  for (const std::string role : {"admin", "worker", "viewer"})
    CheckPrivate(dir->token(role), false, findings);
  CheckPrivate(dir->tls(), true, findings);
  CheckPrivate(dir->database(), false, findings);
  if (const auto socket = SocketPath(*dir); !socket.ok()) {
    const auto detail = GetErrorDetail(socket.status()).value_or(ErrorDetail{});
    findings.push_back({"socket", Verdict::kFail, detail.message, detail.mend});
  }
  findings.push_back(CheckCoordinator(*dir));
  CheckSpace(dir->root, findings);
}

Finding CheckGpu() {
  const size_t count = VisibleGpus().size();
  if (count > 0) return {"gpu", Verdict::kOk, absl::StrFormat("%d visible", count), ""};
  return {"gpu", Verdict::kOk, "none visible: training runs on the CPU", ""};
}

Finding CheckSlurm() {
  const char* path = getenv("PATH");
  const std::vector<std::string> directories = absl::StrSplit(path == nullptr ? "" : path, ':');
  for (const std::string& directory : directories) {
    if (access((directory + "/sbatch").c_str(), X_OK) == 0)
      return {"slurm", Verdict::kOk, directory + "/sbatch", ""};
  }
  return {"slurm", Verdict::kOk, "no sbatch here: `rung slurm` needs a login node", ""};
}

absl::Status WriteBundle(const std::string& file, const Context& context,
                         const std::vector<Finding>& findings) {
  std::optional<StateDir> dir = FindStateDir(context.dir_flag);
  if (dir.has_value() && !std::filesystem::is_directory(dir->root)) dir.reset();
  // Its bytes may be no UTF-8: a log's, or a path's.
  const std::string text = BundleJson(dir, findings, context.clock.Now())
                               .dump(2, ' ', false, OrderedJson::error_handler_t::replace);
  RUNG_RETURN_IF_ERROR(WriteFileAtomic(file, text + "\n"));
  PrintNote(
      file +
      " has what was found, the ends of the logs and the studies; no token, key or file of data. What a "
      "trainer's argv or error says is in it: read it before you send it");
  return absl::OkStatus();
}

absl::StatusOr<int> Doctor(Context& context, const std::string& bundle) {
  std::error_code unknown;
  if (!bundle.empty() && std::filesystem::exists(std::filesystem::symlink_status(bundle, unknown))) {
    return MakeError(absl::StatusCode::kAlreadyExists,
                     {"E0391", "there is a file of this name already", bundle, bundle, "Give another name"});
  }
  std::vector<Finding> findings;
  for (const std::string name : {"rungd", "rung-worker", "rung-trainer"})
    findings.push_back(CheckProgram(name));
  CheckStateDir(context.dir_flag, findings);
  findings.push_back(CheckGpu());
  findings.push_back(CheckSlurm());
  if (context.format == Format::kJson) {
    PrintJson(FindingsJson(findings));
  } else {
    PrintText(FindingsText(findings, context.terminal));
  }
  if (!bundle.empty()) RUNG_RETURN_IF_ERROR(WriteBundle(bundle, context, findings));
  return HasFindings(findings) ? 9 : 0;
}

}  // namespace

void AddDoctorCommand(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand(
      "doctor", "Look for what would go wrong: programs, LibTorch, modes, disk, GPU, Slurm");
  command.footer(
      "Exit code 9 if something was found.\nExample:\n  rung doctor\n  rung doctor --bundle "
      "for-support.json");
  const auto bundle = std::make_shared<std::string>();  // owners: the parser's callback and the action
  command
      .add_option("--bundle", *bundle,
                  "Write a new FILE for somebody who helps: versions, what was found, the studies, sizes, "
                  "the ends of the logs; no token, key, file of data, or value of a trainer's environment")
      ->type_name("FILE");
  command.callback(
      [&context, bundle] { context.action = [&context, bundle] { return Doctor(context, *bundle); }; });
}

}  // namespace rung
