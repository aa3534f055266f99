#include "worker/text/budget_scale.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace rung {
namespace {

int64_t CeilingQuotient(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

BudgetScale::BudgetScale(Unit unit, int64_t rows, int64_t batch, int64_t accumulation)
    : unit_(unit), rows_(rows) {
  RUNG_CHECK(rows > 0 && batch > 0 && accumulation > 0, "sizes of a training set are positive");
  updates_ = CeilingQuotient(CeilingQuotient(rows, batch), accumulation);
}

int64_t BudgetScale::UpdatesOfEpochs(double epochs) const {
  return static_cast<int64_t>(std::floor(epochs * static_cast<double>(updates_) + 0.5));
}

int64_t BudgetScale::Updates(double budget) const {
  if (budget <= 0) return 0;
  double epochs = budget;
  if (unit_ == Unit::kSteps) return std::max<int64_t>(1, static_cast<int64_t>(std::floor(budget + 0.5)));
  if (unit_ == Unit::kSamples) epochs = budget / static_cast<double>(rows_);
  return std::max<int64_t>(1, UpdatesOfEpochs(epochs));
}

double BudgetScale::Charged(int64_t updates, int64_t rows_read) const {
  switch (unit_) {
    case Unit::kSteps:
      return static_cast<double>(updates);
    case Unit::kSamples:
      return static_cast<double>(rows_read);
    case Unit::kEpochs:
      break;
  }
  return static_cast<double>(rows_read) / static_cast<double>(rows_);
}

}  // namespace rung
