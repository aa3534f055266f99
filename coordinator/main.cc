// rungd: the coordinator daemon.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "coordinator/daemon.h"
#include "coordinator/options.h"

namespace {

// With RUNG_ERROR_FORMAT=json (set by `rung`) one JSON object, as `rung -o json` prints it: `rung` shows it
// as its own.
int End(const absl::Status& status) {
  if (status.ok()) return 0;
  const auto detail = rung::GetErrorDetail(status);
  const char* format = std::getenv("RUNG_ERROR_FORMAT");
  if (detail.has_value() && format != nullptr && std::string(format) == "json") {
    const nlohmann::ordered_json error = {{"code", detail->code},
                                          {"message", detail->message},
                                          {"where", detail->where},
                                          {"value", detail->value},
                                          {"mend", detail->mend}};
    const std::string text = nlohmann::ordered_json{{"error", error}}.dump(
        -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    std::fprintf(stderr, "%s\n", text.c_str());
    return rung::ExitCode(status);
  }
  std::fprintf(stderr, "rungd: %s%s%s\n", detail.has_value() ? detail->code.c_str() : "",
               detail.has_value() ? ": " : "", std::string(status.message()).c_str());
  return rung::ExitCode(status);
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = rung::ParseDaemonOptions(argc, argv);
  if (!options.ok()) return End(options.status());
  if (!options->has_value()) return 0;
  return End(rung::RunDaemon(**options));
}
