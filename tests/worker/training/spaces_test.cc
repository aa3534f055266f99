// Configs drawn from the spaces that ship train, on small models in the place of those that the spaces name.
#include <map>
#include <set>

#include "tests/worker/training/drawn_configs.h"
#include "tests/worker/training/small_world.h"

namespace rung {
namespace {

const std::map<std::string, std::string> kFamilies = {
    {"bert-base-uncased", "bert"},
    {"bert-large-uncased", "bert"},
    {"bert-base-multilingual-cased", "bert"},
    {"deepset/bert-base-german-cased-oldvocab", "bert"},
    {"dvm1983/TinyBERT_General_4L_312D_de", "bert"},
    {"linhd-postdata/alberti-bert-base-multilingual-cased", "bert"},
    {"uklfr/gottbert-base", "roberta"},
    {"roberta-base", "roberta"},
    {"roberta-large", "roberta"},
    {"distilbert-base-uncased", "distilbert"},
    {"dbmdz/distilbert-base-german-europeana-cased", "distilbert"}};

class ShippedSpace {
 public:
  ShippedSpace(const std::string& name, int count, json trainer = json::object())
      : configs_(DrawnConfigs(RUNG_SOURCE_DIR "/spaces/" + name + ".json", count, 7)),
        trainer_(std::move(trainer)) {
    std::ifstream file(RUNG_SOURCE_DIR "/spaces/" + name + ".json");
    space_ = json::parse(file);
    // Rows for every task: two labels, as columns and as one.
    std::ofstream rows(world_.Path("rows.csv"));
    CounterRandom random(3);
    rows << "sentence,joy,anger,label\n";
    for (int i = 0; i < 48; ++i) {
      for (int j = 0; j < 6; ++j) rows << (j == 0 ? "w" : " w") << random.Below(SmallWorld::kWords);
      rows << "," << i % 2 << "," << i / 2 % 2 << "," << i % 3 << "\n";
    }
  }

  // Trains a config for three updates; its result's values. A config that ends otherwise fails the test.
  json Run(const json& config) {
    json trial = world_.Trial(config);
    for (const char* key : {"model_name_or_path", "learning_rate", "warmup_steps"})
      if (space_.contains(key)) trial["trainer"]["options"].erase(key);
    trial["trainer"].update(trainer_);
    trial["trainer"]["train"] = trial["trainer"]["validation"] = world_.Path("rows.csv");
    trial["budget"] = {{"unit", "steps"}, {"from", 0}, {"to", 3}, {"max", 3}};
    const std::string model = config["model_name_or_path"];
    REQUIRE(kFamilies.contains(model));
    trial["inputs"][model] = world_.Model(kFamilies.at(model));
    const auto outcome = world_.Run(trial);
    INFO(config << " ends with " << outcome.last());
    REQUIRE(outcome.last()["type"] == "result");
    return outcome.last()["values"];
  }

  // Every parameter, and every value of a list, is in some config.
  void CheckCovered() const {
    std::map<std::string, std::set<std::string>> seen;
    for (const json& config : configs_) {
      for (const auto& [name, value] : config.items()) seen[name].insert(value.dump());
    }
    for (const auto& [name, row] : space_.items()) {
      INFO(name);
      CHECK(seen.contains(name));
      const json values = row.is_array() ? row : row.value("values", row.value("ordinal", json::array()));
      for (const json& value : values) CHECK(seen[name].contains(value.dump()));
    }
  }

  const std::vector<json>& configs() const { return configs_; }

 private:
  std::vector<json> configs_;
  const json trainer_;
  SmallWorld world_;
  json space_;
};

}  // namespace

TEST_CASE("configs of the space for emotions train on rows with several labels") {
  ShippedSpace space("emotions", 60, {{"multi_label", true}, {"label", {"joy", "anger"}}});
  space.CheckCovered();
  for (const json& config : space.configs()) {
    const json values = space.Run(config);
    CHECK(values["train/updates"] == 3);
    CHECK(values.contains("validation/f1_macro"));
  }
}

TEST_CASE("configs of the space of three encoders evaluate, fine-tune, or train adapters") {
  ShippedSpace space("three-encoders", 30);
  space.CheckCovered();
  std::set<std::string> variants;
  for (const json& config : space.configs()) {
    const json values = space.Run(config);
    const bool trains = config["variant"] != "evaluate";
    CHECK(values["train/updates"] == (trains ? 3 : 0));
    CHECK(values["train/budget"] == (trains ? 3 : 0));  // what the study is charged
    CHECK(values.contains("train/loss") == trains);
    CHECK(values.contains("validation/accuracy"));
  }
}

TEST_CASE("configs of the space of the documented search train") {
  ShippedSpace space("text-classification", 12);
  for (const json& config : space.configs()) CHECK(space.Run(config)["train/updates"] == 3);
}

}  // namespace rung
