#include "coordinator/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "proto/endpoint.h"

namespace rung {
namespace {

absl::Status UsageError(const std::string& option, const std::string& value, const std::string& message,
                        const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument, {"E0110", message, option, value, mend});
}

absl::StatusOr<absl::Duration> ParseDuration(const std::string& option, const std::string& text,
                                             absl::Duration low, absl::Duration high) {
  absl::Duration duration;
  int64_t seconds = 0;
  if (absl::SimpleAtoi(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    return UsageError(option, text, absl::StrFormat("%s is no duration", text),
                      "Write it like 60s, 5m or 1h");
  }
  if (duration < low || duration > high) {
    return UsageError(option, text,
                      absl::StrFormat("%s is outside %s to %s", text, absl::FormatDuration(low),
                                      absl::FormatDuration(high)),
                      "Use a value in that range");
  }
  return duration;
}

// auto, HOST:PORT or [ADDRESS]:PORT.
absl::StatusOr<std::string> ParseListen(const std::string& text) {
  if (text.empty()) return text;
  if (text == "auto") return std::string("[::]:0");
  const size_t colon = text.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return UsageError("--listen", text, absl::StrFormat("%s is no HOST:PORT", text),
                      "Write it like 0.0.0.0:7411, or use auto");
  }
  return text;
}

}  // namespace

absl::StatusOr<std::optional<DaemonOptions>> ParseDaemonOptions(int argc, char** argv) {
  CLI::App app("The coordinator of Rung: owns one state directory, its studies and their workers.", "rungd");
  std::string dir, listen, advertise, lease_ttl = "60s", idle_exit, workers_within;
  DaemonOptions options;
  app.add_option("--dir", dir,
                 "State directory (default: $RUNG_DIR, else the nearest .rung of your own in the working "
                 "directory or above it, else a new one in the working directory)");
  app.add_option("--listen", listen, "Also serve over TLS at HOST:PORT, or auto for any free port");
  app.add_option("--advertise", advertise, "Host name that workers use (default: the fully qualified name)");
  app.add_option("--metrics", options.metrics,
                 "Also serve /metrics and /healthz on this host: PORT, 127.0.0.1:PORT or auto");
  app.add_option("--lease-ttl", lease_ttl, "How long a silent worker keeps its lease, 1s to 1h")
      ->capture_default_str();
  app.add_flag("--offline", options.offline, "Only answer questions: grant nothing, change nothing");
  app.add_option("--idle-exit", idle_exit, "End after this long without a call or a lease");
  app.add_flag("--exit-when-done", options.exit_when_done,
               "End when every study is finished and workers know it");
  app.add_option("--verify-backup", options.verify_backup, "Look at a copy of a database, and end");
  app.add_option("--restore-backup", options.restore_backup, "Put it in the database's place, and end");
  app.add_option("--workers-within", workers_within, "End with exit code 8 after this long without a worker");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);
      return std::optional<DaemonOptions>();
    }
    return UsageError("", "", error.what(), "See rungd --help");
  }
  const std::optional<StateDir> found = FindStateDir(dir);
  options.dir = found.has_value() ? found->root : AbsolutePath(".rung");
  options.advertise = advertise;
  RUNG_ASSIGN_OR_RETURN(options.listen, ParseListen(listen));
  RUNG_ASSIGN_OR_RETURN(options.lease_ttl,
                        ParseDuration("--lease-ttl", lease_ttl, absl::Seconds(1), absl::Hours(1)));
  if (!idle_exit.empty()) {
    RUNG_ASSIGN_OR_RETURN(options.idle_exit,
                          ParseDuration("--idle-exit", idle_exit, absl::Seconds(1), absl::Hours(24)));
  }
  if (!workers_within.empty()) {
    RUNG_ASSIGN_OR_RETURN(options.workers_within, ParseDuration("--workers-within", workers_within,
                                                                absl::Seconds(1), absl::Hours(24 * 365)));
  }
  if (options.offline && !options.idle_exit.has_value()) options.idle_exit = absl::Seconds(60);
  return std::optional<DaemonOptions>(std::move(options));
}

}  // namespace rung
