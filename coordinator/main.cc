// rungd: the coordinator daemon.
#include "base/status.h"
#include "coordinator/backup_verbs.h"
#include "coordinator/daemon.h"
#include "coordinator/options.h"
#include "proto/daemon_output.h"

namespace {

int End(const absl::Status& status) {
  if (!status.ok()) rung::PrintDaemonError(status);
  return rung::ExitCode(status);
}

}  // namespace

int main(int argc, char** argv) {
  rung::SilenceGrpc();
  const auto options = rung::ParseDaemonOptions(argc, argv);
  if (!options.ok()) return End(options.status());
  if (!options->has_value()) return 0;
  if (const std::string& file = (*options)->verify_backup; !file.empty())
    return End(rung::VerifyBackup(file));
  if (const std::string& file = (*options)->restore_backup; !file.empty())
    return End(rung::RestoreBackup((*options)->dir, file));
  return End(rung::RunDaemon(**options));
}
