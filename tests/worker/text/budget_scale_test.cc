#include "worker/text/budget_scale.h"

#include <catch2/catch.hpp>

namespace rung {

TEST_CASE("a budget in updates: U = ceil(ceil(rows / batch) / accumulation), rounded half up, at least one") {
  const BudgetScale scale(BudgetScale::Unit::kEpochs, 201, 16, 4);  // 13 batches, 4 updates
  CHECK(scale.updates_per_epoch() == 4);
  CHECK(scale.Updates(0) == 0);
  CHECK(scale.Updates(0.01) == 1);
  CHECK(scale.Updates(0.625) == 3);  // 2.5
  CHECK(scale.Updates(1) == 4);
  CHECK(scale.Updates(1.0 / 3) == 1);
  CHECK(scale.Updates(9) == 36);
  CHECK(scale.Charged(2, 100) == Approx(100.0 / 201));
  CHECK(BudgetScale(BudgetScale::Unit::kSteps, 201, 16, 4).Updates(7) == 7);
  CHECK(BudgetScale(BudgetScale::Unit::kSamples, 201, 16, 4).Updates(402) == 8);
}

}  // namespace rung
