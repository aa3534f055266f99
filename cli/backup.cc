// rung backup create | verify | restore. The copy is made by the coordinator; the other two are rungd's,
// which knows databases.
#include <stdlib.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_access.h"

namespace rung {
namespace {

absl::StatusOr<int> Create(Context& context, const std::string& file) {
  RUNG_ASSIGN_OR_RETURN(const StateDir dir, ExistingStateDir(context.dir_flag));
  RUNG_ASSIGN_OR_RETURN(Client client, Reach(dir, Access::kRead, context.clock));
  RUNG_ASSIGN_OR_RETURN(const v1::CreateBackupResponse made,
                        client.CreateBackup(file.empty() ? "" : AbsolutePath(file)));
  if (context.format == Format::kJson) {
    PrintJson({{"schema", 1},
               {"path", made.path()},
               {"database_schema", made.schema_version()},
               {"studies", made.studies()},
               {"events", made.events()},
               {"size_bytes", made.size_bytes()}});
  } else {
    PrintText(absl::StrFormat("%s: %s, %s, %d bytes\n", Printable(made.path()),
                              Counted(made.studies(), "study"), Counted(made.events(), "event"),
                              made.size_bytes()));
  }
  return 0;
}

absl::StatusOr<int> BecomeRungd(const Context& context, std::vector<std::string> arguments) {
  if (context.format == Format::kJson) setenv(kErrorFormatVariable, "json", 1);
  arguments.insert(arguments.begin(), BesideThisProgram("rungd"));
  return Exec(arguments);
}

}  // namespace

void AddBackupCommands(CLI::App& app, Context& context) {
  CLI::App& backup = *app.add_subcommand("backup", "Copies of the database: make, verify, restore");
  const auto file = std::make_shared<std::string>();  // owners: the parser's callbacks and the actions
  CLI::App& create = *backup.add_subcommand("create", "Copy the database while everything goes on");
  create.footer("Example:\n  rung backup create --to /archive/gnad10.db");
  create.add_option("--to", *file, "The copy's path (default: backups/rung-TIME.db in the state directory)");
  create.callback([&context, file] { context.action = [&context, file] { return Create(context, *file); }; });
  CLI::App& verify = *backup.add_subcommand("verify", "Look at every page and row of a copy");
  verify.footer("Example:\n  rung backup verify .rung/backups/rung-20260102T030405.678Z.db");
  verify.add_option("FILE", *file, "The copy")->required();
  verify.callback([&context, file] {
    context.action = [&context, file] {
      return BecomeRungd(context, {"--verify-backup", AbsolutePath(*file)});
    };
  });
  CLI::App& restore = *backup.add_subcommand(
      "restore", "Put a copy in the database's place; what was there is kept beside it");
  restore.footer(
      "End the coordinator and its workers first: what they did since the copy was made is not in it.\n"
      "Example:\n  rung backup restore .rung/backups/rung-20260102T030405.678Z.db");
  restore.add_option("FILE", *file, "The copy")->required();
  restore.callback([&context, file] {
    context.action = [&context, file] {
      const std::optional<StateDir> dir = FindStateDir(context.dir_flag);
      return BecomeRungd(context, {"--dir", dir.has_value() ? dir->root : AbsolutePath(".rung"),
                                   "--restore-backup", AbsolutePath(*file)});
    };
  });
}

}  // namespace rung
