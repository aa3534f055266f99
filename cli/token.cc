// rung token rotate ROLE: a new token, while everything goes on.
#include <memory>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"
#include "cli/views.h"

namespace rung {
namespace {

struct Options {
  std::string role;
  std::string overlap = "10m";
};

absl::StatusOr<int> Rotate(Context& context, const Options& options) {
  absl::Duration overlap;
  if (!absl::ParseDuration(options.overlap, &overlap)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0105", "`" + options.overlap + "` is no time", "--overlap", options.overlap,
                      "Write it like 0s, 10m or 24h"});
  }
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kWrite, context.clock));
  RUNG_RETURN_IF_ERROR(client.RotateToken(options.role, overlap));
  if (context.format == Format::kJson) {
    OrderedJson json = JsonDocument();
    json["role"] = options.role;
    json["path"] = dir.token(options.role);
    json["overlap_seconds"] = absl::ToDoubleSeconds(overlap);
    PrintJson(json);
  } else {
    PrintText(absl::StrFormat("%s holds a new token; the one before it is taken for %s more\n",
                              dir.token(options.role), DurationText(overlap)));
  }
  return 0;
}

}  // namespace

void AddTokenCommands(CLI::App& app, Context& context) {
  CLI::App& token = *app.add_subcommand("token", "Tokens of the state directory: rotate");
  CLI::App& rotate = *token.add_subcommand("rotate", "Make a new token; running studies go on");
  rotate.footer("Example:\n  rung token rotate worker --overlap 0s");
  const auto options = std::make_shared<Options>();  // owners: the parser's callback and the action
  rotate.add_option("ROLE", options->role, "admin, worker or viewer")
      ->required()
      ->check(CLI::IsMember({"admin", "worker", "viewer"}));
  rotate.add_option("--overlap", options->overlap, "How long the old one is taken too: 0s to 168h")
      ->capture_default_str();
  rotate.callback(
      [&context, options] { context.action = [&context, options] { return Rotate(context, *options); }; });
}

}  // namespace rung
