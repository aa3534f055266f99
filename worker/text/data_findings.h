// What a study's data looks like before anything is trained: its classes, and what its author may not have
// meant. Pure functions; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "worker/text/study_data.h"
#include "worker/text/trainer_options.h"

namespace rung {

TrainingClasses ClassesOf(const StudyData& data, const TextOptions& options);

// Texts that stand in two of the sets, or are empty; labels that look like texts.
std::vector<std::string> DataWarnings(const StudyData& data, const TextOptions& options);

}  // namespace rung
