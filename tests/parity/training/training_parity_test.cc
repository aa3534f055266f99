// Logits and training losses against Hugging Face on real weights (training_fixture.py).
#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/parity/training/expected.h"
#include "worker/model/classifier.h"
#include "worker/model/parameters.h"
#include "worker/training/optimizer.h"
#include "worker/training/schedule.h"
#include "worker/training/snapshot.h"

namespace rung {
namespace {

using nlohmann::json;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  INFO(name << " must name what tests/parity/training/training_fixture.py read and wrote");
  REQUIRE(value != nullptr);
  return value;
}

json Fixture() {
  std::ifstream file(Environment("RUNG_PARITY_DIR") + "/parity.json");
  REQUIRE(file.good());
  return json::parse(file);
}

const BaseWeights& Base() {
  static const absl::StatusOr<BaseWeights> base = LoadBaseWeights(Environment("RUNG_TEST_MODEL"));
  REQUIRE(base.ok());
  return *base;
}

PackedBatch BatchOf(const json& batch) {
  std::vector<EncodedExample> examples;
  for (size_t i = 0; i < batch["ids"].size(); ++i) {
    const auto ids = batch["ids"][i].get<std::vector<int32_t>>();
    examples.push_back({ids, std::vector<int32_t>(ids.size(), 0), batch["labels"][i].get<int>()});
  }
  std::vector<int> rows(examples.size());
  std::iota(rows.begin(), rows.end(), 0);
  return PackBatch(examples, rows);
}

// Hugging Face's start. Only the classifier is new there: all else is what was loaded from the model itself.
void Start(Classifier& model) {
  at::set_num_threads(1);
  const torch::Tensor loaded = model.parameters().weights().clone();
  REQUIRE(RestoreSnapshot(Environment("RUNG_PARITY_DIR") + "/start", model.parameters(), nullptr).ok());
  for (const ParameterInfo& info : model.parameters().infos()) {
    if (info.stored.starts_with("classifier.")) continue;
    INFO(info.stored);
    REQUIRE(torch::equal(loaded.narrow(0, info.offset, info.size),
                         model.parameters().weights().narrow(0, info.offset, info.size)));
  }
}

Optimizer OptimizerOf(const std::string& name) {
  if (name == "Adam") return Optimizer::kAdam;
  if (name == "AdamW") return Optimizer::kAdamW;
  return name == "SGD" ? Optimizer::kSgd : Optimizer::kRAdam;
}

Schedule ScheduleOf(const std::string& name) {
  if (name == "linear") return Schedule::kLinear;
  if (name == "cosine") return Schedule::kCosine;
  if (name == "cosine_with_restarts") return Schedule::kCosineHardRestarts;
  return name == "polynomial" ? Schedule::kPolynomial : Schedule::kConstant;
}

}  // namespace

TEST_CASE("logits of a ragged batch equal Hugging Face's within 1e-4") {
  const json fixture = Fixture();
  Classifier model(Base(), fixture["labels"], 1, 0.0);
  Start(model);
  const PackedBatch batch = BatchOf(fixture["batch"]);
  const BatchOutcome outcome = model.Evaluate(batch);
  const size_t labels = fixture["labels"];
  REQUIRE(batch.rows.size() == fixture["logits"].size());
  double worst = 0;
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    for (size_t j = 0; j < labels; ++j) {
      const double expected = fixture["logits"][static_cast<size_t>(batch.rows[i])][j];
      worst = Larger(worst, expected - static_cast<double>(outcome.logits[i * labels + j]));
    }
  }
  WARN("largest difference of a logit: " << worst);
  CHECK(worst < 1e-4);
}

TEST_CASE("20 updates' losses equal Hugging Face's within 1e-3") {
  const json fixture = Fixture();
  REQUIRE(fixture["updates"].size() == 20);
  REQUIRE(fixture["runs"].size() >= 5);
  for (const json& run : fixture["runs"]) {
    Classifier model(Base(), fixture["labels"], 1, 0.0);
    Start(model);
    WeightUpdater updater(
        {.optimizer = OptimizerOf(run["optimizer"]), .momentum = 0.9, .weight_decay = run["decay"]},
        model.parameters());
    const ScheduleOptions schedule = {
        ScheduleOf(run["schedule"]), run["warmup"], run["total"], run["rate"], 1, 1};
    double worst = 0;
    for (int64_t update = 0; update < static_cast<int64_t>(fixture["updates"].size()); ++update) {
      const json& batches = fixture["updates"][static_cast<size_t>(update)];
      double rows = 0, loss_sum = 0;
      for (const json& batch : batches) rows += static_cast<double>(batch["labels"].size());
      for (size_t i = 0; i < batches.size(); ++i) {
        loss_sum += model.Train(BatchOf(batches[i]), {1, update, static_cast<int64_t>(i)}, 1 / rows).loss_sum;
      }
      updater.Update(schedule.learning_rate * ScheduleFactor(schedule, update));
      const double expected = run["losses"][static_cast<size_t>(update)];
      worst = Larger(worst, expected - loss_sum / rows);
    }
    const double first = run["losses"].front(), last = run["losses"].back();
    WARN(run["optimizer"] << " " << run["schedule"] << ": loss " << first << " to " << last
                          << ", largest difference " << worst);
    CHECK(std::abs(first - last) > 0.02);  // it did learn: the comparison is not of a model at rest
    CHECK(worst < 1e-3);
  }
}

}  // namespace rung
