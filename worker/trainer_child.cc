#include "worker/trainer_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr int kLowestOwnDescriptor =
    16;  // above what the child's table starts with, so that dup2 never overwrites one
constexpr int kErrorDescriptor = 4;
constexpr unsigned kMaxDescriptors = 65536;  // closed one by one where close_range is missing

class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor() { Reset(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    Reset();
    value_ = std::exchange(other.value_, -1);
    return *this;
  }
  int get() const { return value_; }
  int Release() { return std::exchange(value_, -1); }
  void Reset() {
    if (value_ >= 0) close(value_);
    value_ = -1;
  }

 private:
  int value_;
};

struct Pipe {
  Descriptor read;
  Descriptor write;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrFormat("no pipe left: %s", strerror(errno)));
  }
  const Descriptor low_read(ends[0]);
  const Descriptor low_write(ends[1]);
  Pipe pipe;
  pipe.read = Descriptor(fcntl(ends[0], F_DUPFD_CLOEXEC, kLowestOwnDescriptor));
  pipe.write = Descriptor(fcntl(ends[1], F_DUPFD_CLOEXEC, kLowestOwnDescriptor));
  if (pipe.read.get() < 0 || pipe.write.get() < 0) {
    return absl::ResourceExhaustedError(absl::StrFormat("no descriptor left: %s", strerror(errno)));
  }
  return pipe;
}

struct Pipes {
  Pipe input, output, errors, metrics, start;
};

absl::StatusOr<Pipes> MakePipes() {
  Pipes pipes;
  for (Pipe* pipe : {&pipes.input, &pipes.output, &pipes.errors, &pipes.metrics, &pipes.start}) {
    RUNG_ASSIGN_OR_RETURN(*pipe, MakePipe());
  }
  return pipes;
}

std::string PathOf(const std::vector<std::string>& environment) {
  for (const std::string& pair : environment) {
    if (pair.rfind("PATH=", 0) == 0) return pair.substr(5);
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

absl::StatusOr<std::string> FindProgram(const ChildSpec& spec) {
  const std::string& name = spec.argv.front();
  if (name.find('/') != std::string::npos) return name;
  const std::vector<std::string> directories = absl::StrSplit(PathOf(spec.environment), ':');
  for (const std::string& directory : directories) {
    const std::string path = (directory.empty() ? "." : directory) + "/" + name;
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return MakeError(absl::StatusCode::kNotFound,
                   {"E0721", absl::StrFormat("there is no program %s", name), "trainer.argv[0]", name,
                    "Install it, give its path, or name PATH's directory in trainer.env"});
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// What fork leaves to do, with system calls alone: other threads may have held locks at the fork.
struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* environment;
  const char* directory;           // null: stay
  std::array<int, 5> descriptors;  // become 0, 1, 2, kMetricsDescriptor, kErrorDescriptor
  pid_t parent;
};

[[noreturn]] void FailStart(char stage) {
  const std::array<int, 2> report = {errno, stage};
  [[maybe_unused]] const ssize_t n = write(kErrorDescriptor, report.data(), sizeof(report));
  _exit(127);
}

void CloseDescriptorsFrom(unsigned first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
  for (unsigned descriptor = first; descriptor < kMaxDescriptors; ++descriptor)
    close(static_cast<int>(descriptor));
}

[[noreturn]] void BecomeChild(const ChildPlan& plan) {
  for (size_t i = 0; i < plan.descriptors.size(); ++i) dup2(plan.descriptors[i], static_cast<int>(i));
  fcntl(kErrorDescriptor, F_SETFD, FD_CLOEXEC);
  CloseDescriptorsFrom(kErrorDescriptor + 1);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != plan.parent) _exit(127);  // the worker died before prctl
  sigset_t none;
  sigemptyset(&none);
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &usual, nullptr);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.directory != nullptr && chdir(plan.directory) != 0) FailStart('d');
  execve(plan.program, plan.argv, plan.environment);
  FailStart('p');
}

// Of the machine at this moment: the same program may start the next time.
bool MayPass(int error) {
  return error == ENOMEM || error == EAGAIN || error == ENFILE || error == EMFILE || error == ETXTBSY ||
         error == ESTALE;
}

absl::Status StartError(int error, char stage, const ChildSpec& spec) {
  const bool directory = stage == 'd';
  const std::string& value = directory ? spec.directory : spec.argv.front();
  const absl::StatusCode code = MayPass(error)                        ? absl::StatusCode::kResourceExhausted
                                : error == ENOENT || error == ENOTDIR ? absl::StatusCode::kNotFound
                                : error == EACCES                     ? absl::StatusCode::kPermissionDenied
                                                                      : absl::StatusCode::kInvalidArgument;
  return MakeError(
      code,
      {"E0721", absl::StrFormat("cannot %s %s: %s", directory ? "enter" : "start", value, strerror(error)),
       directory ? "trainer.cwd" : "trainer.argv[0]", value,
       directory ? "Give a directory that exists" : "Give an executable program"});
}

void SetNonBlocking(int descriptor) {
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainerChild>> TrainerChild::Start(const ChildSpec& spec) {
  RUNG_ASSIGN_OR_RETURN(const std::string program, FindProgram(spec));
  RUNG_ASSIGN_OR_RETURN(Pipes pipes, MakePipes());
  const std::vector<char*> argv = Pointers(spec.argv);
  const std::vector<char*> environment = Pointers(spec.environment);
  const ChildPlan plan = {program.c_str(),
                          argv.data(),
                          environment.data(),
                          spec.directory.empty() ? nullptr : spec.directory.c_str(),
                          {pipes.input.read.get(), pipes.output.write.get(), pipes.errors.write.get(),
                           pipes.metrics.write.get(), pipes.start.write.get()},
                          getpid()};
  const int ended_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (ended_event < 0) return absl::ResourceExhaustedError("no event descriptor left");
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(plan);
  if (pid < 0) {
    close(ended_event);
    return absl::ResourceExhaustedError(absl::StrFormat("no process left: %s", strerror(errno)));
  }
  pipes.start.write.Reset();
  std::array<int, 2> report{};
  ssize_t size = 0;
  do {
    size = read(pipes.start.read.get(), report.data(), sizeof(report));
  } while (size < 0 && errno == EINTR);
  if (size == sizeof(report)) {
    waitpid(pid, nullptr, 0);
    close(ended_event);
    return StartError(report[0], static_cast<char>(report[1]), spec);
  }
  std::unique_ptr<TrainerChild> child(new TrainerChild);
  child->pid_ = pid;
  child->ended_event_ = ended_event;
  child->input_ = pipes.input.write.Release();
  child->output_ = pipes.output.read.Release();
  child->errors_ = pipes.errors.read.Release();
  child->metrics_ = pipes.metrics.read.Release();
  for (const int descriptor : {child->input_, child->output_, child->errors_, child->metrics_}) {
    SetNonBlocking(descriptor);
  }
  child->WatchForEnd();
  return child;
}

// A thread that waits, because pidfd_open is younger than the kernels of many clusters. WNOWAIT: the pid
// stays ours until Ended() reaps it, so Signal never meets a stranger.
void TrainerChild::WatchForEnd() {
  watcher_ = std::thread([pid = pid_, event = ended_event_] {
    siginfo_t info{};
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(event, &one, sizeof(one));
  });
}

TrainerChild::~TrainerChild() {
  kill(-pid_, SIGKILL);
  watcher_.join();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  for (const int descriptor : {input_, output_, errors_, metrics_, ended_event_}) close(descriptor);
}

std::optional<int> TrainerChild::Ended() const {
  siginfo_t info{};
  // The zombie is kept (WNOWAIT) until the destructor: its pid and group id cannot be given to others before.
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid != pid_) {
    return std::nullopt;
  }
  return info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
}

void TrainerChild::Signal(int signal_number) {
  kill(-pid_, signal_number);
}

bool TrainerChild::WriteLine(const std::string& line) {
  const std::string bytes = line + "\n";
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(input_, bytes.data() + done, bytes.size() - done);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      return false;  // a path is shorter than a pipe's buffer: EAGAIN means that the child does not read
    }
  }
  return true;
}

}  // namespace rung
