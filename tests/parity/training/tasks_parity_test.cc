// Logits, loss and gradients of every task against Hugging Face, and of weighted classes against torch
// (tasks_fixture.py).
#include <torch/torch.h>

#include <numeric>

#include "tests/parity/training/expected.h"
#include "worker/model/classifier.h"
#include "worker/model/parameters.h"
#include "worker/text/model_directory.h"
#include "worker/training/snapshot.h"
#include "worker/training/task_tally.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-5;

std::vector<EncodedExample> Examples(const json& batch, const std::string& name) {
  std::vector<EncodedExample> examples;
  for (size_t i = 0; i < batch["ids"].size(); ++i) {
    EncodedExample example;
    example.ids = batch["ids"][i].get<std::vector<int32_t>>();
    example.token_types.assign(example.ids.size(), 0);
    if (name == "multi_label_classification") {
      example.targets = batch["flags"][i].get<std::vector<float>>();
    } else if (name == "regression") {
      example.targets = {batch["values"][i].get<float>()};
    } else {
      example.label = batch["labels"][i].get<int>();
    }
    if (name == "class_weights") example.weight = batch["weights"][static_cast<size_t>(example.label)];
    examples.push_back(std::move(example));
  }
  return examples;
}

// Trains on the rows in micro-batches of `size`; the tally of what came of them.
TaskTally TrainOnce(Classifier& model, const std::vector<EncodedExample>& examples, size_t size, double scale,
                    double* logits_worst, const std::vector<float>& logits) {
  TaskTally tally(model.task(), model.labels());
  const auto outputs = static_cast<std::ptrdiff_t>(model.labels());
  for (size_t begin = 0; begin < examples.size(); begin += size) {
    std::vector<int> rows(std::min(size, examples.size() - begin));
    std::iota(rows.begin(), rows.end(), static_cast<int>(begin));
    const PackedBatch batch = PackBatch(examples, rows);
    const BatchOutcome outcome = model.Train(batch, {1, 0, static_cast<int64_t>(begin / size)}, scale);
    tally.Add(batch, outcome);
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const auto first = logits.begin() + batch.rows[i] * outputs;
      const float* ours = outcome.logits.data() + static_cast<std::ptrdiff_t>(i) * outputs;
      *logits_worst = std::max(*logits_worst, Worst(ours, std::vector<float>(first, first + outputs)));
    }
  }
  model.parameters().SettleGradients();
  return tally;
}

}  // namespace

TEST_CASE("logits, losses and gradients of every task are Hugging Face's within 1e-5, in micro-batches too") {
  at::set_num_threads(1);
  const json fixture = FixtureJson("tasks/batch.json");
  for (const std::string name : fixture["tasks"]) {
    const std::string directory = FixturePath("tasks/" + name);
    const auto base = LoadBaseWeights(directory);
    INFO(name << ": " << base.status());
    REQUIRE(base.ok());
    CHECK((name == "class_weights" || ProblemType(base->config.task) == name));
    const auto expected = SafetensorsFile::Open(directory + "/expected.safetensors");
    REQUIRE(expected.ok());
    const std::vector<EncodedExample> examples = Examples(fixture, name);
    double weight = 0;
    for (const EncodedExample& example : examples) weight += static_cast<double>(example.weight);
    for (const size_t size : {examples.size(), size_t{3}}) {
      INFO("micro-batches of " << size);
      ModelOptions options;
      options.dropout = 0;
      options.task = base->config.task;
      Classifier model(*base, name == "regression" ? 1 : 4, 1, options);
      REQUIRE(RestoreSnapshot(directory, model.parameters(), nullptr).ok());
      double logits_worst = 0;
      const TaskTally tally =
          TrainOnce(model, examples, size, 1 / weight, &logits_worst, ExpectedTensor(**expected, "logits"));
      CHECK(logits_worst < kTolerance);
      const double loss = static_cast<double>(ExpectedTensor(**expected, "loss")[0]);
      CHECK(std::abs(tally.Loss() - loss) < kTolerance);
      double gradient_worst = 0;
      size_t moved = 0;
      for (const ParameterInfo& info : model.parameters().infos()) {
        const std::vector<float> theirs = ExpectedTensor(**expected, "gradient:" + info.stored);
        REQUIRE(theirs.size() == static_cast<size_t>(info.size));
        const double worst =
            Worst(model.parameters().gradients().const_data_ptr<float>() + info.offset, theirs);
        INFO(info.name);
        CHECK(worst < kTolerance);
        gradient_worst = std::max(gradient_worst, worst);
        moved +=
            std::any_of(theirs.begin(), theirs.end(), [](float g) { return std::abs(g) > 1e-4F; }) ? 1 : 0;
      }
      CHECK(moved > model.parameters().infos().size() / 2);  // it is not a comparison of zeros
      WARN(name << ", micro-batches of " << size << ": loss " << loss << ", logits " << logits_worst
                << ", gradients " << gradient_worst);
    }
  }
}

}  // namespace rung
