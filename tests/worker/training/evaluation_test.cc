// Every example is predicted exactly once, whatever the number of rows and the batch size.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/worker/training/small_world.h"
#include "worker/text/trainer_options.h"
#include "worker/training/training_run.h"

namespace rung {

TEST_CASE("1 to 33 rows are each predicted once, and as if they were alone") {
  SmallWorld world;
  const auto base = LoadBaseWeights(world.Model(1, 3));
  REQUIRE(base.ok());
  Classifier model(*base, 3, 42, 0.1);
  CounterRandom random(5);
  std::vector<EncodedExample> all;
  for (int i = 0; i < 33; ++i) {
    EncodedExample example;
    for (uint64_t j = 0, n = 3 + random.Below(9); j < n; ++j)
      example.ids.push_back(static_cast<int32_t>(random.Below(400)));
    example.token_types.assign(example.ids.size(), 0);
    example.label = i % 3;
    all.push_back(example);
  }
  const Requests requests;
  const auto largest = [](const std::vector<float>& logits) {
    std::vector<int> classes;
    for (auto row = logits.begin(); row != logits.end(); row += 3)
      classes.push_back(static_cast<int>(std::max_element(row, row + 3) - row));
    return classes;
  };
  std::vector<int> alone(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<float> one;
    REQUIRE(EvaluateExamples(model, {all[i]}, 8, requests, &one));
    alone[i] = largest(one).at(0);
  }
  for (size_t n = 1; n <= all.size(); ++n) {
    std::vector<float> logits;
    const std::vector<EncodedExample> some(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n));
    const auto tally = EvaluateExamples(model, some, 8, requests, &logits);
    REQUIRE(tally);
    CHECK(tally->rows() == static_cast<int64_t>(n));
    CHECK(largest(logits) == std::vector<int>(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(n)));
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
