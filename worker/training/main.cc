// rung-trainer: reads the path of a trial file per line from standard input, and ends each attempt with one
// result or failed line on RUNG_METRICS_FD (docs/trainer-messages.md). A child of rung-worker; warm between
// attempts. Two verbs that need LibTorch run on their own: export and predict, started by rung.
#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "worker/training/attempt.h"
#include "worker/training/model_export.h"
#include "worker/training/torch_errors.h"

namespace {

constexpr int kExitUsage = 2;
constexpr int kExitReleased = 85;
constexpr int kExitMachine = 74;  // the disk or the worker failed, not the config
constexpr size_t kMaxPathBytes = 64 * 1024;

// Signal handlers reach nothing but a static; they only set flags.
rung::Requests requests;
void OnTerminate(int /*signal*/) {
  requests.stop = true;
}
void OnCheckpoint(int /*signal*/) {
  requests.checkpoint = true;
}

void InstallHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnTerminate;
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = OnCheckpoint;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

// The next line of standard input; nullopt at its end or when a stop is asked for. SIGTERM is let in only
// while it waits, so none is lost between the look at the flag and the wait.
class LineReader {
 public:
  std::optional<std::string> Next() {
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    std::optional<std::string> line;
    while (!requests.stop && !(line = Take()) && buffer_.size() < kMaxPathBytes) {
      pollfd input = {STDIN_FILENO, POLLIN, 0};
      if (ppoll(&input, 1, nullptr, &before) < 0) continue;
      char bytes[4096];
      const ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));
      if (count == 0) break;
      if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return line;
  }

 private:
  std::optional<std::string> Take() {
    const size_t end = buffer_.find('\n');
    if (end == std::string::npos) return std::nullopt;
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
  }
  std::string buffer_;
};

// Activations of many megabytes come and go with every batch. Kept in the heap they need no new pages from
// the kernel.
void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

int Usage(std::FILE* stream) {
  std::fputs(
      "rung-trainer: trains one attempt per line of standard input, the path of a trial file.\n"
      "It is started by rung-worker; docs/trainer-messages.md describes its messages.\n\n"
      "  rung-trainer export CHECKPOINTS DIR           as `rung study best --export DIR` does\n"
      "  rung-trainer predict DIR FILE OUT [--logits] [--json] [COLUMN]...   as `rung model predict DIR "
      "FILE` does\n"
      "  RUNG_METRICS_FD   descriptor that gets metric, checkpoint, result and failed lines (required)\n"
      "  --help, --version\n\n"
      "SIGTERM: write a checkpoint and exit 85. SIGUSR1: write a checkpoint now. Exit 74: the disk or the "
      "worker failed.\n",
      stream);
  return stream == stdout ? 0 : kExitUsage;
}

std::optional<int> MetricsDescriptor() {
  const char* text = std::getenv("RUNG_METRICS_FD");
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  if (*end != '\0' || number < 0 || number > 1 << 20) return std::nullopt;
  return static_cast<int>(number);
}

int Serve(int descriptor) {
  rung::SystemClock clock;
  rung::Log log("trainer", clock);
  rung::MessagePipe pipe(descriptor);
  rung::AttemptRunner runner(pipe, requests, log, clock);
  LineReader reader;
  while (const std::optional<std::string> path = reader.Next()) {
    if (path->empty()) continue;
    const absl::StatusOr<rung::AttemptEnd> end = runner.Run(*path);
    if (!end.ok()) {
      log.Write(rung::LogLevel::kError, "attempt_given_up",
                {{"message", std::string(end.status().message())}});
      return kExitMachine;
    }
    if (*end == rung::AttemptEnd::kReleased) return kExitReleased;
  }
  return 0;
}

// As rungd ends: RUNG_ERROR_FORMAT=json (set by `rung`) makes the error one JSON object.
int End(const absl::Status& status) {
  if (status.ok()) return 0;
  const std::optional<rung::ErrorDetail> detail = rung::GetErrorDetail(status);
  const char* format = std::getenv("RUNG_ERROR_FORMAT");
  if (detail && format != nullptr && std::strcmp(format, "json") == 0) {
    const nlohmann::ordered_json error = {{"code", detail->code},
                                          {"message", detail->message},
                                          {"where", detail->where},
                                          {"value", detail->value},
                                          {"mend", detail->mend}};
    const std::string text = nlohmann::ordered_json{{"error", error}}.dump(
        -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    std::fprintf(stderr, "%s\n", text.c_str());
  } else {
    std::fprintf(stderr, "rung-trainer: %s\n", std::string(status.message()).c_str());
  }
  return rung::ExitCode(status);
}

// nullopt: `arguments` are no verb.
std::optional<int> RunVerb(const std::vector<std::string>& arguments) {
  if (arguments.size() == 3 && arguments[0] == "export") {
    return End(rung::CatchTorch([&] { return rung::ExportModel(arguments[1], arguments[2]); }));
  }
  if (arguments.size() < 4 || arguments[0] != "predict") return std::nullopt;
  rung::PredictRequest request;
  request.model = arguments[1];
  request.file = arguments[2];
  request.out = arguments[3];
  auto column = arguments.begin() + 4;
  for (; column != arguments.end() && (*column == "--logits" || *column == "--json"); ++column)
    (*column == "--json" ? request.as_json : request.logits) = true;
  request.text_columns.assign(column, arguments.end());
  return End(rung::CatchTorch([&] { return rung::PredictFile(request); }));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) return Usage(stdout);
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("rung-trainer " RUNG_VERSION);
    return 0;
  }
  if (const std::optional<int> code = RunVerb({argv + 1, argv + argc})) return *code;
  const std::optional<int> descriptor = MetricsDescriptor();
  if (argc != 1 || !descriptor) return Usage(stderr);
  KeepFreedMemory();
  InstallHandlers();
  return Serve(*descriptor);
}
