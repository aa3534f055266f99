// Budgets in updates, rows and the study's unit. Pure.
#pragma once

#include <cstdint>

namespace rung {

class BudgetScale {
 public:
  enum class Unit { kEpochs, kSteps, kSamples };

  // rows > 0, batch > 0, accumulation > 0.
  BudgetScale(Unit unit, int64_t rows, int64_t batch, int64_t accumulation);

  int64_t updates_per_epoch() const { return updates_; }  // U = ceil(ceil(rows / batch) / accumulation)

  // Updates after which a cumulative budget is spent: max(1, b * U rounded half up); 0 for budget 0.
  int64_t Updates(double budget) const;
  // The budget that is charged: what was really read.
  double Charged(int64_t updates, int64_t rows_read) const;
  // Updates after `epochs` epochs, rounded half up.
  int64_t UpdatesOfEpochs(double epochs) const;

 private:
  Unit unit_;
  int64_t rows_, updates_;
};

}  // namespace rung
