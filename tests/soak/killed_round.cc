// kill -9 of a coordinator in a process of its own, at any moment of its life: after so many answers, or
// after so many microseconds from its start on.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "coordinator/core_loop.h"
#include "coordinator/recovery.h"
#include "coordinator/state_directory.h"
#include "coordinator/state_lock.h"
#include "tests/scratch.h"
#include "tests/soak/rounds.h"

namespace rung::soak {
namespace {

constexpr int kWorkers = 6;
constexpr int64_t kMostUnderWay = 8;
constexpr int64_t kMostAnswers = 30;                             // of one life
constexpr absl::Duration kLongestLife = absl::Milliseconds(40);  // where a clock ends it
constexpr absl::Duration kLongestSilence = absl::Seconds(30);    // the coordinator hangs
constexpr int64_t kMostDeaths = 2'000;                           // of one study
constexpr size_t kMostBytes = 128 * 1024;                        // of a message
constexpr int kRefused = 3;                                      // the exit code of one that cannot start

// ---- the messages between the two processes: packets, each whole or not there

struct Header {
  int64_t number;
  int32_t kind;  // of a request: a letter; of an answer: its status code
};

void Send(int socket, const Header& header, const std::string& bytes) {
  std::string packet(reinterpret_cast<const char*>(&header), sizeof(header));
  packet += bytes;
  RUNG_CHECK(packet.size() <= kMostBytes, "a message fits into a packet");
  // The other side may be dead.
  [[maybe_unused]] const ssize_t sent = send(socket, packet.data(), packet.size(), MSG_NOSIGNAL);
}

// False: the other side is gone.
bool Receive(int socket, Header* header, std::string* bytes) {
  std::vector<char> packet(kMostBytes);
  ssize_t size = -1;
  do {
    size = recv(socket, packet.data(), packet.size(), 0);
    // One that died with unread requests resets the connection, once: what it had answered is still there.
  } while (size < 0 && (errno == ECONNRESET || errno == EINTR));
  if (size < static_cast<ssize_t>(sizeof(*header))) return false;
  memcpy(header, packet.data(), sizeof(*header));
  bytes->assign(packet.data() + sizeof(*header), static_cast<size_t>(size) - sizeof(*header));
  return true;
}

std::pair<char, std::string> Packed(const Crew::Body& body) {
  if (const auto* m = std::get_if<v1::CreateStudyRequest>(&body)) return {'c', m->SerializeAsString()};
  if (const auto* m = std::get_if<v1::SetStudyStateRequest>(&body)) return {'s', m->SerializeAsString()};
  if (const auto* m = std::get_if<v1::RegisterRequest>(&body)) return {'r', m->SerializeAsString()};
  if (const auto* m = std::get_if<v1::LeaseRequest>(&body)) return {'l', m->SerializeAsString()};
  if (const auto* m = std::get_if<v1::ProgressRequest>(&body)) return {'p', m->SerializeAsString()};
  if (const auto* m = std::get_if<v1::ReportRequest>(&body)) return {'e', m->SerializeAsString()};
  return {'f', std::get<v1::ReleaseRequest>(body).SerializeAsString()};
}

template <typename Message>
Message Parsed(const std::string& bytes) {
  Message message;
  RUNG_CHECK(message.ParseFromString(bytes), "a request is readable");
  return message;
}

Crew::Body Unpacked(int32_t kind, const std::string& bytes) {
  if (kind == 'c') return Parsed<v1::CreateStudyRequest>(bytes);
  if (kind == 's') return Parsed<v1::SetStudyStateRequest>(bytes);
  if (kind == 'r') return Parsed<v1::RegisterRequest>(bytes);
  if (kind == 'l') return Parsed<v1::LeaseRequest>(bytes);
  if (kind == 'p') return Parsed<v1::ProgressRequest>(bytes);
  if (kind == 'e') return Parsed<v1::ReportRequest>(bytes);
  return Parsed<v1::ReleaseRequest>(bytes);
}

// ---- the coordinator's process: rungd without its server

absl::Status Serve(int socket, CoreOptions options) {
  SystemClock clock;
  Log log("rungd", clock);
  RUNG_RETURN_IF_ERROR(log.OpenFile(options.dir.root + "/log"));
  // Killed between making its lock and writing it, the one before cannot be proved dead: then it is watched.
  const LockOptions lock_options{ThisProcess(), false, absl::Seconds(1),
                                 [](absl::Duration time) { absl::SleepFor(time); }};
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<StateLock> lock,
                        StateLock::Acquire(options.dir, lock_options, clock));
  if (lock->database() != options.dir.database()) return absl::InternalError("took over a copy");
  RUNG_ASSIGN_OR_RETURN(std::unique_ptr<StudyStore> store, StudyStore::Open(lock->database()));
  lock->RemoveOlder();
  options.term = lock->term();
  RUNG_ASSIGN_OR_RETURN(Core core, LoadCore(options, *store));
  CoreLoop loop(std::move(core), std::move(store), lock.get(), clock, log);
  loop.Start([](const Push&) {});
  Header header{};
  std::string bytes;
  while (Receive(socket, &header, &bytes)) {
    loop.Submit(Unpacked(header.kind, bytes),
                [socket, number = header.number](const absl::Status& status, const std::string& answer) {
                  Send(socket, {number, static_cast<int32_t>(status.code())},
                       status.ok() ? answer : std::string(status.message()));
                });
  }
  return absl::OkStatus();
}

class Coordinator {
 public:
  explicit Coordinator(const CoreOptions& options) {
    std::array<int, 2> ends{};
    RUNG_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0, "a pair of sockets");
    const pid_t parent = getpid();
    pid_ = fork();
    RUNG_CHECK(pid_ >= 0, "a test can start processes");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(kRefused);
      close(ends[0]);
      const absl::Status status = Serve(ends[1], options);
      if (!status.ok()) absl::FPrintF(stderr, "rungd: %s\n", std::string(status.message()));
      _exit(status.ok() ? 0 : kRefused);
    }
    close(ends[1]);
    socket_ = ends[0];
  }
  ~Coordinator() { close(socket_); }
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  int socket() const { return socket_; }
  // Its wait status.
  int Kill() const {
    kill(pid_, SIGKILL);
    int status = 0;
    RUNG_CHECK(waitpid(pid_, &status, 0) == pid_, "a child is reaped once");
    return status;
  }

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

class KilledRound {
 public:
  explicit KilledRound(uint64_t seed) : rng_(seed, 0x6b696c6c), crew_(seed, kWorkers) {
    options_.dir = StateDir{scratch_.path("state")};
    options_.nonce = "nonce";
    if (const auto made = PrepareStateDirectory(options_.dir); !made.ok())
      crew_.Breach("no state directory: " + std::string(made.status().message()));
  }

  Outcome ToTheEnd() {
    while (!crew_.breach().has_value() && !crew_.finished()) {
      if (++deaths_ > kMostDeaths) crew_.Breach("the study does not end");
      Live();
      crew_.Abandon();
      Check();
    }
    return {crew_.breach(), deaths_, crew_.figures()};
  }

 private:
  void Live() {
    const Coordinator coordinator(options_);
    const bool by_clock = rng_.Uniform() < 0.5;
    const absl::Duration end = clock_.Steady() + (by_clock ? kLongestLife * rng_.Uniform() : kLongestSilence);
    int64_t answers_left = by_clock ? INT64_MAX : 1 + rng_.Below(kMostAnswers);
    int64_t under_way = 0;
    while (answers_left > 0 && !crew_.finished()) {
      while (under_way < kMostUnderWay) {
        const std::optional<Crew::Call> call = crew_.Next();
        if (!call.has_value()) break;
        const auto [kind, bytes] = Packed(call->body);
        Send(coordinator.socket(), {call->number, kind}, bytes);
        ++under_way;
      }
      pollfd look = {coordinator.socket(), POLLIN, 0};
      const timespec rest = absl::ToTimespec(std::max(end - clock_.Steady(), absl::ZeroDuration()));
      if (ppoll(&look, 1, &rest, nullptr) <= 0) {
        if (!by_clock) crew_.Breach("the coordinator is silent");
        break;
      }
      if (!TakeAnswer(coordinator)) break;
      --under_way;
      --answers_left;
    }
    const int status = coordinator.Kill();
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
      crew_.Breach(absl::StrFormat("the coordinator ended by itself, with wait status %d", status));
    // What it had said before it died is acknowledged.
    while (TakeAnswer(coordinator)) continue;
  }

  bool TakeAnswer(const Coordinator& coordinator) {
    Header header{};
    std::string bytes;
    if (!Receive(coordinator.socket(), &header, &bytes)) return false;
    const auto code = static_cast<absl::StatusCode>(header.kind);
    crew_.Answered(header.number,
                   code == absl::StatusCode::kOk ? absl::OkStatus() : absl::Status(code, bytes), bytes);
    return true;
  }

  // In a copy: the next coordinator finds what the last one left.
  void Check() {
    const std::string copy = scratch_.path("copy.db");
    for (const char* suffix : {"", "-wal"}) {
      std::error_code error;
      std::filesystem::remove(copy + suffix, error);
      std::filesystem::copy_file(options_.dir.database() + suffix, copy + suffix, error);
    }
    const absl::StatusOr<std::unique_ptr<StudyStore>> store = StudyStore::Open(copy);
    if (!store.ok()) return crew_.Breach("the store does not open: " + std::string(store.status().message()));
    crew_.Check(options_, **store);
  }

  const Scratch scratch_;
  SystemClock clock_;
  Rng rng_;
  Crew crew_;
  CoreOptions options_;
  int64_t deaths_ = 0;
};

}  // namespace

Outcome RunKilled(uint64_t seed) {
  return KilledRound(seed).ToTheEnd();
}

Outcome RunRound(Fault fault, uint64_t seed) {
  return fault == Fault::kKill ? RunKilled(seed) : RunOnLossyDisk(fault, seed);
}

}  // namespace rung::soak
