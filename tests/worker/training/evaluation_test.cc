// Every example is predicted exactly once, whatever the number of rows and the batch size.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/worker/training/small_world.h"
#include "worker/text/trainer_options.h"
#include "worker/training/training_run.h"

namespace rung {

namespace {

constexpr int kLabels = 3;
constexpr size_t kRows = 33;

std::vector<EncodedExample> RowsOf(const std::vector<int>& lengths) {
  CounterRandom random(5);
  std::vector<EncodedExample> rows;
  for (const int length : lengths) {
    EncodedExample row;
    for (int i = 0; i < length; ++i) row.ids.push_back(static_cast<int32_t>(random.Below(400)));
    row.token_types.assign(row.ids.size(), 0);
    row.label = static_cast<int>(rows.size()) % kLabels;
    rows.push_back(row);
  }
  return rows;
}

// Rows of one length, of many, of two that alternate, and one long row among short ones.
std::vector<std::vector<int>> LengthMixes() {
  CounterRandom random(6);
  std::vector<int> equal(kRows, 9), many, two, one_long(kRows, 4);
  for (size_t i = 0; i < kRows; ++i) {
    many.push_back(3 + static_cast<int>(random.Below(28)));
    two.push_back(i % 2 == 0 ? 3 : 17);
  }
  one_long[20] = 120;
  return {equal, many, two, one_long};
}

}  // namespace

TEST_CASE("1 to 33 rows are each predicted once, and as if they were alone, in batches of every size") {
  SmallWorld world;
  const auto base = LoadBaseWeights(world.Model(1, 3));
  REQUIRE(base.ok());
  Classifier model(*base, kLabels, 42, 0.1);
  const Requests requests;
  for (const std::vector<int>& lengths : LengthMixes()) {
    const std::vector<EncodedExample> all = RowsOf(lengths);
    std::vector<std::vector<float>> alone(kRows);
    std::vector<double> losses;
    for (size_t i = 0; i < kRows; ++i) {
      const auto tally = EvaluateExamples(model, {all[i]}, 1, requests, &alone[i]);
      REQUIRE(tally);
      losses.push_back(tally->Loss());
      // A row in the place of another is noticed.
      for (size_t j = 0; j < i; ++j) {
        double apart = 0;
        for (size_t k = 0; k < kLabels; ++k)
          apart = std::max(apart, std::abs(static_cast<double>(alone[i][k] - alone[j][k])));
        REQUIRE(apart > 3e-5);
      }
    }
    for (const int batch_size : {1, 2, 7, 16, 32, 33, 64}) {
      for (size_t n = 1; n <= kRows; ++n) {
        INFO(n << " rows of length " << lengths[0] << ", " << lengths[1] << ", ... in batches of "
               << batch_size);
        std::vector<float> logits;
        const std::vector<EncodedExample> some(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n));
        const auto tally = EvaluateExamples(model, some, batch_size, requests, &logits);
        REQUIRE(tally);
        CHECK(tally->rows() == static_cast<int64_t>(n));
        REQUIRE(logits.size() == n * kLabels);
        double furthest = 0, loss = 0;
        for (size_t i = 0; i < n; ++i) {
          loss += losses[i] / static_cast<double>(n);
          for (size_t k = 0; k < kLabels; ++k)
            furthest =
                std::max(furthest, std::abs(static_cast<double>(logits[i * kLabels + k] - alone[i][k])));
        }
        CHECK(furthest < 1e-5);
        CHECK(tally->Loss() == Approx(loss).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("every score of an evaluation may judge a study") {
  for (const auto& [task, key] :
       {std::pair{Task::kSingleLabel, ""}, std::pair{Task::kMultiLabel, "multi_label"},
        std::pair{Task::kRegression, "regression"}}) {
    nlohmann::json trainer = {{"type", "text_classification"}};
    if (*key != 0) trainer[key] = true;
    const TaskTally tally(task, 2);
    const auto running = tally.RunningValues("train/"), values = tally.Values("validation/");
    for (const auto& [name, value] : running) CHECK(CheckMetric(trainer, name).ok());
    for (const auto& [name, value] : values) CHECK(CheckMetric(trainer, name).ok());
    // And no other.
    for (const std::string name : {"mcc", "accuracy", "pearson", "f1_macro"}) {
      CHECK(CheckMetric(trainer, "train/" + name).ok() == running.contains("train/" + name));
      CHECK(CheckMetric(trainer, "validation/" + name).ok() == values.contains("validation/" + name));
    }
  }
}

}  // namespace rung
