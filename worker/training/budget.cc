#include "worker/training/budget.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace rung {

static int64_t CeilingQuotient(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

BudgetScale::BudgetScale(BudgetUnit unit, int64_t rows, int64_t batch, int64_t accumulation)
    : unit_(unit), rows_(rows) {
  RUNG_CHECK(rows > 0 && batch > 0 && accumulation > 0, "sizes of a training set are positive");
  batches_ = CeilingQuotient(rows, batch);
  updates_ = CeilingQuotient(batches_, accumulation);
}

int64_t BudgetScale::UpdatesOfEpochs(double epochs) const {
  return static_cast<int64_t>(std::floor(epochs * static_cast<double>(updates_) + 0.5));
}

int64_t BudgetScale::Updates(double budget) const {
  if (budget <= 0) return 0;
  double epochs = budget;
  if (unit_ == BudgetUnit::kSteps)
    return std::max<int64_t>(1, static_cast<int64_t>(std::floor(budget + 0.5)));
  if (unit_ == BudgetUnit::kSamples) epochs = budget / static_cast<double>(rows_);
  return std::max<int64_t>(1, UpdatesOfEpochs(epochs));
}

double BudgetScale::Charged(int64_t updates, int64_t rows_read) const {
  switch (unit_) {
    case BudgetUnit::kSteps:
      return static_cast<double>(updates);
    case BudgetUnit::kSamples:
      return static_cast<double>(rows_read);
    case BudgetUnit::kEpochs:
      break;
  }
  return static_cast<double>(rows_read) / static_cast<double>(rows_);
}

}  // namespace rung
