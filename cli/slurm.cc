#include "cli/slurm_commands.h"

namespace rung {

void AddSlurmCommands(CLI::App& app, Context& context) {
  CLI::App& slurm = *app.add_subcommand("slurm", "Slurm: run a study as jobs");
  slurm.require_subcommand(1);
  AddSlurmSubmitCommand(slurm, context);
  AddSlurmScaleCommand(slurm, context);
  AddSlurmStatusCommand(slurm, context);
  AddSlurmCancelCommand(slurm, context);
  AddSlurmDoctorCommand(slurm, context);
}

}  // namespace rung
