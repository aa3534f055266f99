#include "worker/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rung {
namespace {

constexpr double kPolynomialEnd = 1e-7;

double Polynomial(const ScheduleOptions& o, double progress) {
  if (progress > 1) return kPolynomialEnd / o.learning_rate;
  const double remaining = 1 - progress;
  return ((o.learning_rate - kPolynomialEnd) * std::pow(remaining, o.power) + kPolynomialEnd) /
         o.learning_rate;
}

}  // namespace

double ScheduleFactor(const ScheduleOptions& o, int64_t update) {
  if (update < o.warmup_updates) {
    return static_cast<double>(update) / static_cast<double>(std::max<int64_t>(1, o.warmup_updates));
  }
  const double after = static_cast<double>(std::max<int64_t>(1, o.total_updates - o.warmup_updates));
  const double progress = static_cast<double>(update - o.warmup_updates) / after;
  switch (o.schedule) {
    case Schedule::kConstant:
      return 1;
    case Schedule::kLinear:
      return std::max(0.0, static_cast<double>(o.total_updates - update) / after);
    case Schedule::kCosine:
      return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress)));
    case Schedule::kCosineHardRestarts:
      if (progress >= 1) return 0;
      return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * std::fmod(o.cycles * progress, 1.0))));
    case Schedule::kPolynomial:
      return Polynomial(o, progress);
  }
  return 1;
}

}  // namespace rung
