// rung version: which Rung this is.
#include "proto/version.h"
#include "cli/commands.h"
#include "cli/views.h"
#include "proto/wire.h"

namespace rung {

std::string VersionText() {
  return std::string("rung ") + kVersion + " (protocol " + std::to_string(kProtocolMax) + ")";
}

void AddVersionCommand(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("version", "Show the version of Rung and of its protocol");
  command.footer("Example:\n  rung version -o json");
  command.callback([&context] {
    context.action = [&context]() -> absl::StatusOr<int> {
      if (context.format == Format::kJson) {
        OrderedJson json = JsonDocument();
        json["version"] = kVersion;
        json["protocol_min"] = kProtocolMin;
        json["protocol_max"] = kProtocolMax;
        PrintJson(json);
      } else {
        PrintText(VersionText() + "\n");
      }
      return 0;
    };
  });
}

}  // namespace rung
