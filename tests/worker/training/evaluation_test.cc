// Every example is predicted exactly once, whatever the number of rows and the batch size.
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
  std::vector<int> alone(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<int> one;
    REQUIRE(EvaluateExamples(model, {all[i]}, 8, requests, &one));
    alone[i] = one.at(0);
  }
  for (size_t n = 1; n <= all.size(); ++n) {
    std::vector<int> predictions;
    const std::vector<EncodedExample> some(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n));
    const auto tally = EvaluateExamples(model, some, 8, requests, &predictions);
    REQUIRE(tally);
    CHECK(tally->rows() == static_cast<int64_t>(n));
    CHECK(predictions == std::vector<int>(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(n)));
  }
}

TEST_CASE("every score of an evaluation may judge a study") {
  const nlohmann::json trainer = {{"type", "text_classification"}};
  for (const char* part : {"train/", "validation/"}) {
    for (const auto& [name, value] : Tally(2).Values(part)) CHECK(CheckMetric(trainer, name).ok());
  }
}

}  // namespace rung
