#include "tests/e2e/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"

namespace rung {
namespace {

constexpr int kLookMilliseconds = 5;

struct Stat {
  char state = '?';
  pid_t parent = 0;
};

std::optional<Stat> StatOf(pid_t pid) {
  const std::string text =
      ReadFile("/proc/" + std::to_string(pid) + "/stat").value_or("");  // it may just end
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(end + 1));
  Stat stat;
  rest >> stat.state >> stat.parent;
  return stat;
}

std::vector<std::string> Environment(const Process::Options& options) {
  std::map<std::string, std::string> pairs;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    pairs[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
  pairs.erase("RUNG_DIR");
  for (const auto& [name, value] : options.environment) pairs[name] = value;
  std::vector<std::string> environment;
  for (const auto& [name, value] : pairs) environment.push_back(name + "=" + value);
  return environment;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

void JoinCgroup(const std::string& file) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0 || write(descriptor, "0", 1) != 1) _exit(126);
  close(descriptor);
}

}  // namespace

Process::Process(const Options& options) {
  const std::vector<std::string> environment = Environment(options);
  const std::vector<char*> argv = Pointers(options.argv);
  const std::vector<char*> pairs = Pointers(environment);
  pid_ = fork();
  RUNG_CHECK(pid_ >= 0, "a test can start processes");
  if (pid_ > 0) return;
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const std::string& file : options.cgroups) JoinCgroup(file);
  const int output = open(options.output_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(output, 1);
  dup2(output, 2);
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(126);
  execve(argv[0], argv.data(), pairs.data());
  _exit(127);
}

Process::~Process() {
  if (status_.has_value()) return;
  const std::vector<pid_t> all = Descendants(pid_);
  kill(pid_, SIGKILL);
  for (const pid_t pid : all) kill(pid, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<int> Process::Wait(double seconds) {
  WaitFor(seconds, [this] {
    int status = 0;
    if (!status_.has_value() && waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return status_.has_value();
  });
  return status_;
}

void Process::Kill(int signal_number) const {
  kill(pid_, signal_number);
}

Finished RunProgram(const std::vector<std::string>& argv, const std::string& directory, double seconds) {
  std::string out_path = "/tmp/rung-e2e-out-XXXXXX";
  const int out = mkstemp(out_path.data());
  close(out);
  Process::Options options;
  // The shell only separates the two outputs; it reads none of the arguments.
  options.argv = {"/bin/sh", "-c", "exec \"$@\" 2>\"$0\"", out_path + ".err"};
  options.argv.insert(options.argv.end(), argv.begin(), argv.end());
  options.directory = directory;
  options.output_path = out_path;
  Process process(options);
  Finished finished;
  finished.code = process.Wait(seconds).value_or(-1);
  finished.out = ReadFile(out_path).value_or("");
  finished.err = ReadFile(out_path + ".err").value_or("");
  std::filesystem::remove(out_path);
  std::filesystem::remove(out_path + ".err");
  return finished;
}

bool WaitFor(double seconds, const std::function<bool()>& holds) {
  SystemClock clock;
  const absl::Duration end = clock.Steady() + absl::Seconds(seconds);
  while (true) {
    if (holds()) return true;
    if (clock.Steady() > end) return false;
    poll(nullptr, 0, kLookMilliseconds);
  }
}

std::vector<pid_t> Descendants(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = atoi(entry.path().filename().c_str());
    if (pid == 0) continue;
    if (const auto stat = StatOf(pid); stat.has_value() && stat->state != 'Z')
      children.emplace(stat->parent, pid);
  }
  std::vector<pid_t> found;
  std::vector<pid_t> open_ones = {root};
  while (!open_ones.empty()) {
    const pid_t parent = open_ones.back();
    open_ones.pop_back();
    for (auto [child, end] = children.equal_range(parent); child != end; ++child) {
      found.push_back(child->second);
      open_ones.push_back(child->second);
    }
  }
  return found;
}

std::string ProgramOf(pid_t pid) {
  const std::string name = ReadFile("/proc/" + std::to_string(pid) + "/comm").value_or("");
  return name.substr(0, name.find('\n'));
}

bool Lives(pid_t pid) {
  const auto stat = StatOf(pid);
  return stat.has_value() && stat->state != 'Z';
}

}  // namespace rung
