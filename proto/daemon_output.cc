#include "proto/daemon_output.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_format.h"
#include "proto/error_text.h"

namespace rung {
namespace {

void Print(const std::string& text) {
  // One call: lines of several processes on one terminal do not mix.
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

bool WantsJson() {
  const char* format = std::getenv(kErrorFormatVariable);
  return format != nullptr && std::string(format) == "json";
}

std::string OneLine(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      safe += "\\n";
    } else if ((byte < 0x20 && c != '\t') || byte == 0x7F) {
      safe += absl::StrFormat("\\x%02x", byte);
    } else {
      safe += c;
    }
  }
  return safe;
}

void TellPerson(const std::string& line) {
  if (!WantsJson()) Print(OneLine(line) + "\n");
}

std::string DaemonErrorText(const absl::Status& status, bool json) {
  return ErrorText(status, json, OneLine);
}

void PrintDaemonError(const absl::Status& status) {
  Print(DaemonErrorText(status, WantsJson()));
}

void SilenceGrpc() {
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
}

}  // namespace rung
