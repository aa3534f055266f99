// Every encoder family against Hugging Face on tiny random models: hidden states, logits and all gradients
// (families_fixture.py).
#include <torch/torch.h>

#include <numeric>

#include "tests/parity/training/expected.h"
#include "worker/model/classifier.h"
#include "worker/model/parameters.h"
#include "worker/text/model_directory.h"
#include "worker/training/optimizer.h"
#include "worker/training/snapshot.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-5;

std::vector<EncodedExample> Examples(const json& batch) {
  std::vector<EncodedExample> examples;
  for (size_t i = 0; i < batch["ids"].size(); ++i) {
    examples.push_back({batch["ids"][i].get<std::vector<int32_t>>(),
                        batch["token_types"][i].get<std::vector<int32_t>>(), batch["labels"][i].get<int>()});
  }
  return examples;
}

// BERT's and ALBERT's poolers are the encoder's and lie under its name.
bool IsHead(const std::string& stored) {
  return stored.starts_with("classifier.") || stored.starts_with("pre_classifier.") ||
         stored.starts_with("pooler.");
}

}  // namespace

TEST_CASE("hidden states, logits and gradients of every family equal Hugging Face's within 1e-5") {
  at::set_num_threads(1);
  const json fixture = FixtureJson("families/batch.json");
  const std::vector<EncodedExample> examples = Examples(fixture);
  const size_t classes = fixture["classes"];
  std::vector<int> rows(examples.size());
  std::iota(rows.begin(), rows.end(), 0);
  const PackedBatch batch = PackBatch(examples, rows);
  std::vector<size_t> first_token(examples.size(), 0);  // of each example in the fixture's order
  for (size_t i = 1; i < examples.size(); ++i)
    first_token[i] = first_token[i - 1] + examples[i - 1].ids.size();

  for (const json& family : fixture["families"]) {
    const std::string directory = FixturePath("families/" + family.get<std::string>());
    INFO(family);
    const auto base = LoadBaseWeights(directory);
    INFO(base.status());
    REQUIRE(base.ok());
    const auto expected = SafetensorsFile::Open(directory + "/expected.safetensors");
    REQUIRE(expected.ok());
    Classifier model(*base, static_cast<int>(classes), 1, 0.0);
    const torch::Tensor loaded = model.parameters().weights().clone();
    // The head's weights too: a checkpoint has the names of Hugging Face's whole classifier.
    REQUIRE(RestoreSnapshot(directory, model.parameters(), nullptr).ok());
    for (const ParameterInfo& info : model.parameters().infos()) {
      if (IsHead(info.stored)) continue;
      INFO(info.stored);
      REQUIRE(torch::equal(loaded.narrow(0, info.offset, info.size),
                           model.parameters().weights().narrow(0, info.offset, info.size)));
    }

    const std::vector<float> hidden = model.HiddenStates(batch),
                             their_hidden = ExpectedTensor(**expected, "hidden");
    const size_t width = static_cast<size_t>(base->config.hidden_size);
    const BatchOutcome outcome = model.Train(batch, {1, 0, 0}, 1.0 / static_cast<double>(examples.size()));
    const std::vector<float> logits = ExpectedTensor(**expected, "logits");
    double hidden_worst = 0, logits_worst = 0;
    for (size_t i = 0; i < batch.rows.size(); ++i) {
      const size_t row = static_cast<size_t>(batch.rows[i]);
      const std::vector<float> one(logits.begin() + static_cast<std::ptrdiff_t>(row * classes),
                                   logits.begin() + static_cast<std::ptrdiff_t>((row + 1) * classes));
      logits_worst = std::max(logits_worst, Worst(outcome.logits.data() + i * classes, one));
      const auto begin = their_hidden.begin() + static_cast<std::ptrdiff_t>(first_token[row] * width);
      const std::vector<float> tokens(begin,
                                      begin + static_cast<std::ptrdiff_t>(examples[row].ids.size() * width));
      hidden_worst =
          std::max(hidden_worst, Worst(hidden.data() + static_cast<size_t>(batch.starts[i]) * width, tokens));
    }
    CHECK(hidden_worst < kTolerance);
    CHECK(logits_worst < kTolerance);

    model.parameters().SettleGradients();
    double gradient_worst = 0;
    size_t moved = 0;
    for (const ParameterInfo& info : model.parameters().infos()) {
      const std::vector<float> theirs = ExpectedTensor(**expected, "gradient:" + info.stored);
      REQUIRE(theirs.size() == static_cast<size_t>(info.size));
      const float* ours = model.parameters().gradients().const_data_ptr<float>() + info.offset;
      const double worst = Worst(ours, theirs);
      INFO(info.name);
      CHECK(worst < kTolerance);
      gradient_worst = std::max(gradient_worst, worst);
      moved += std::any_of(theirs.begin(), theirs.end(), [](float g) { return std::abs(g) > 1e-4f; }) ? 1 : 0;
    }
    CHECK(moved > model.parameters().infos().size() / 2);  // it is not a comparison of zeros
    WARN(family.get<std::string>() << ": hidden " << hidden_worst << ", logits " << logits_worst
                                   << ", gradients " << gradient_worst);
  }
}

}  // namespace rung
