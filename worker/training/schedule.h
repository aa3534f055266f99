// Learning-rate schedules, as factors of the base rate; the formulas of Hugging Face's get_scheduler. Pure.
#pragma once

#include <cstdint>

#include "worker/text/trainer_options.h"

namespace rung {

struct ScheduleOptions {
  Schedule schedule = Schedule::kLinear;
  int64_t warmup_updates = 0;
  int64_t total_updates = 0;  // T; warm-up may be longer
  double learning_rate = 0;   // the polynomial's end is absolute: 1e-7
  double cycles = 1;          // hard restarts
  double power = 1;           // polynomial
};

// The factor for the update number `update` (from 0). With a warm-up the first factor is 0.
double ScheduleFactor(const ScheduleOptions& options, int64_t update);

}  // namespace rung
