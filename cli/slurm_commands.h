// The commands below `rung slurm`, each in a file of its own.
#pragma once

#include "cli/commands.h"

namespace rung {

void AddSlurmSubmitCommand(CLI::App& slurm, Context& context);
void AddSlurmScaleCommand(CLI::App& slurm, Context& context);
void AddSlurmStatusCommand(CLI::App& slurm, Context& context);
void AddSlurmCancelCommand(CLI::App& slurm, Context& context);
void AddSlurmDoctorCommand(CLI::App& slurm, Context& context);

}  // namespace rung
