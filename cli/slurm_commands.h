// The commands below `rung slurm`, each in a file of its own (slurm.cc has `submit`).
#pragma once

#include "cli/commands.h"

namespace rung {

void AddSlurmScaleCommand(CLI::App& slurm, Context& context);
void AddSlurmStatusCommand(CLI::App& slurm, Context& context);
void AddSlurmCancelCommand(CLI::App& slurm, Context& context);
void AddSlurmDoctorCommand(CLI::App& slurm, Context& context);

}  // namespace rung
