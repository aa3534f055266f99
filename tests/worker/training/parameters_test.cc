// Each parameter of the documented space acts: neighbouring values give different weights after 12 updates
// with warm-up 2 on texts of 300 to 600 tokens, and the same value twice gives the same to the bit.
#include "tests/worker/training/small_world.h"

namespace rung {
namespace {

class DocumentedSpace {
 public:
  DocumentedSpace() {
    std::ifstream file(RUNG_SOURCE_DIR "/spaces/text-classification.json");
    REQUIRE(file.good());
    space_ = json::parse(file);
    world_.Data("train.csv", 200, 300, 600);
    world_.Data("validation.csv", 6, 5, 10, 2);
  }

  // Lists as they stand; ranges as low, the middle, high. Models become random ones of as many seeds.
  std::vector<json> Values(const std::string& name) {
    const json& row = space_.at(name);
    if (name == "model_name_or_path") {
      std::vector<json> models;
      for (size_t i = 0; i < row.size(); ++i) models.push_back(world_.Model(10 + i));
      return models;
    }
    if (row.is_array()) return row.get<std::vector<json>>();
    if (row.contains("ordinal")) return row["ordinal"].get<std::vector<json>>();
    const double low = row["low"], high = row["high"];
    const double middle = row.value("log", false) ? std::sqrt(low * high) : (low + high) / 2;
    return {low, middle, high};
  }

  std::string WeightsOf(const std::string& name, const json& value, json config) {
    if (name != "warmup_steps") config["warmup_steps"] = 2;
    const json fallbacks = {{"max_seq_length", 128},
                            {"per_device_train_batch_size", 4},
                            {"learning_rate", 5e-5},
                            {"weight_decay", 1e-4}};
    for (const auto& [key, fixed] : fallbacks.items()) {
      if (!config.contains(key)) config[key] = fixed;
    }
    config[name] = value;
    json trial = world_.Trial(config);
    trial["budget"] = {{"unit", "steps"}, {"from", 0}, {"to", 12}, {"max", 30}};
    if (name == "model_name_or_path") trial["inputs"][value.get<std::string>()] = value;
    return world_.Weights(trial);
  }

  size_t size() const { return space_.size(); }

 private:
  SmallWorld world_;
  json space_;
};

void CheckActs(DocumentedSpace& space, const std::string& name, const json& config = json::object()) {
  const std::vector<json> values = space.Values(name);
  std::string previous;
  for (size_t i = 0; i < values.size(); ++i) {
    INFO(name << " = " << values[i] << " with " << config);
    const std::string weights = space.WeightsOf(name, values[i], config);
    const bool equal_by_definition = values[i] == "cosine_with_hard_restarts_with_warmup";
    if (equal_by_definition) {
      CHECK(weights == previous);  // one cycle: cosine
    } else {
      CHECK(weights != previous);
    }
    CHECK(weights == space.WeightsOf(name, values[i], config));
    previous = weights;
  }
}

}  // namespace

TEST_CASE("every documented parameter acts") {
  DocumentedSpace space;
  CHECK(space.size() == 11);
  CheckActs(space, "max_seq_length");
  CheckActs(space, "per_device_train_batch_size");
  CheckActs(space, "model_name_or_path");
  CheckActs(space, "optimizer_name");
  CheckActs(space, "sgd_momentum", {{"optimizer_name", "SGD"}});
  CheckActs(space, "learning_rate");
  CheckActs(space, "scheduler_name");
  CheckActs(space, "warmup_steps");
  CheckActs(space, "gradient_accumulation_steps");
  for (const char* optimizer : {"Adam", "AdamW", "RAdam"}) {
    CheckActs(space, "adam_epsilon", {{"optimizer_name", optimizer}});
  }
  for (const char* optimizer : {"Adam", "AdamW", "SGD", "RAdam"}) {
    CheckActs(space, "weight_decay", {{"optimizer_name", optimizer}});
  }
}

TEST_CASE("two cycles of hard restarts are not one") {
  DocumentedSpace space;
  const json restarts = {{"scheduler_name", "cosine_with_hard_restarts_with_warmup"}};
  CHECK(space.WeightsOf("scheduler.cycles", 2.0, restarts) !=
        space.WeightsOf("scheduler.cycles", 1.0, restarts));
}

}  // namespace rung
