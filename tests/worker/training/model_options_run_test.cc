// Heads, freezing and adapters as options of an attempt: each acts, resumed training is uninterrupted
// training, and what is exported computes what was trained.
#include <filesystem>

#include "base/status.h"
#include "tests/worker/training/small_world.h"
#include "worker/training/model_export.h"

namespace rung {
namespace {

json Steps(json trial, double to, double max) {
  trial["budget"] = {{"unit", "steps"}, {"from", 0}, {"to", to}, {"max", max}};
  return trial;
}

json With(json config, const json& more) {
  config.update(more);
  return config;
}

const json kFc = {{"head.type", "fc"}};
const json kLayers = {{"head.sizes", "16,8"}, {"head.last_layers", 2}, {"head.pool", "mean"}};
const json kAttention = {{"head.type", "attention"}};
const json kLora = {{"peft.method", "lora"}, {"lora.r", 2}};

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("every option of heads, freezing and adapters acts") {
  SmallWorld world;
  const auto weights = [&](const json& config) { return world.Weights(Steps(world.Trial(config), 3, 9)); };
  const std::vector<std::pair<json, std::vector<json>>> cases = {
      {json::object(), {kFc, kAttention, kLora, {{"freeze.layers", 1}}, {{"freeze.embeddings", true}}}},
      {kFc,
       {{{"head.layers", 3}},
        {{"head.size", 8}},
        {{"head.sizes", "8"}},
        {{"head.sizes", "32,8"}},
        {{"head.last_layers", 2}},
        {{"head.pool", "mean"}},
        {{"head.pool", "max"}},
        {{"head.activation", "gelu"}},
        {{"head.activation", "tanh"}},
        {{"head.dropout", 0.0}}}},
      {kAttention,
       {{{"head.dim", 16}}, {{"head.heads", 2}}, {{"head.last_layers", 2}}, {{"head.dropout", 0.0}}}},
      {kLora,
       {{{"lora.r", 3}},
        {{"lora.alpha", 3}},
        {{"lora.dropout", 0.3}},
        {{"lora.targets", "query"}},
        {{"lora.rank_stabilised", true}}}}};
  for (const auto& [base, variations] : cases) {
    const std::string unchanged = weights(base);
    CHECK(unchanged == weights(base));
    for (const json& variation : variations) {
      INFO(base << " with " << variation);
      CHECK(weights(With(base, variation)) != unchanged);
    }
  }
}

TEST_CASE("with a head, frozen layers and adapters resumed training equals uninterrupted training") {
  SmallWorld world;
  for (const json& config : {With(kFc, kLora), With(kFc, kLayers),
                             With(kAttention, {{"freeze.layers", 1}, {"freeze.embeddings", true}})}) {
    INFO(config);
    const json straight = Steps(world.Trial(config), 9, 9);
    const json first = Steps(world.Trial(config), 4, 9);
    json second = Steps(world.Trial(config), 9, 9);
    second["resume_dir"] = first["checkpoint_dir"];
    world.Weights(first);
    CHECK(world.Weights(straight) == world.Weights(second));
  }
}

TEST_CASE("what is exported predicts what was trained, with every kind of head") {
  SmallWorld world;
  for (const json& config : {json::object(), kLora, kFc, With(kAttention, kLora), With(kFc, kLayers)}) {
    INFO(config);
    const json trial = Steps(world.Trial(config), 40, 40);
    const auto outcome = world.Run(trial);
    REQUIRE(outcome.last()["type"] == "result");
    const std::string directory = world.Path("exported");
    std::filesystem::remove_all(directory);
    const absl::Status exported = ExportModel(trial["checkpoint_dir"], directory);
    INFO(exported);
    REQUIRE(exported.ok());
    CHECK(!ExportModel(trial["checkpoint_dir"], directory).ok());  // it is not empty any more
    const absl::Status onto_file = ExportModel(trial["checkpoint_dir"], directory + "/config.json");
    REQUIRE(GetErrorDetail(onto_file).has_value());
    CHECK(GetErrorDetail(onto_file)->code == "E0759");
    CHECK(GetErrorDetail(onto_file)->message == "this is a file, not a directory for the model");
    // Others are told that they cannot read such a head.
    const bool own = config.contains("head.type");
    CHECK(std::filesystem::exists(directory + "/README.md") == own);
    std::ifstream config_file(directory + "/config.json");
    CHECK(json::parse(config_file).contains("architectures") == !own);
    if (own) {
      const std::string note = Lines(directory + "/README.md").at(1);
      INFO(note);
      CHECK(note.find("AutoModelForSequenceClassification") != std::string::npos);
    }
    const absl::Status predicted =
        PredictFile({directory, world.Path("validation.csv"), {}, world.Path("predicted.csv"), 7});
    INFO(predicted);
    REQUIRE(predicted.ok());
    const std::vector<std::string> rows = Lines(world.Path("validation.csv"));
    const std::vector<std::string> labelled = Lines(world.Path("predicted.csv"));
    REQUIRE(labelled.size() == rows.size());
    CHECK(labelled[0] == "sentence,label,probability 0,probability 1");
    double right = 0;
    for (size_t i = 1; i < rows.size(); ++i) {
      CHECK(labelled[i].starts_with(rows[i].substr(0, rows[i].find(',') + 1)));
      const size_t end = rows[i].find(',') + 1;
      right += labelled[i][end] == rows[i][end] ? 1 : 0;
    }
    const absl::Status as_json = PredictFile(
        {directory, world.Path("validation.csv"), {}, world.Path("predicted.json"), 7, false, true});
    INFO(as_json);
    REQUIRE(as_json.ok());
    std::ifstream predicted_json(world.Path("predicted.json"));
    const json said = json::parse(predicted_json);
    REQUIRE(said.size() == rows.size() - 1);
    for (size_t i = 1; i < rows.size(); ++i) {
      const json& row = said[i - 1];
      const size_t end = rows[i].find(',');
      CHECK(row["text"]["sentence"] == rows[i].substr(0, end));
      CHECK(row["label"] == labelled[i].substr(end + 1, 1));
      CHECK(row["probabilities"]["0"].get<double>() + row["probabilities"]["1"].get<double>() == Approx(1));
      CHECK(!row.contains("logits"));
    }
    const double accuracy = outcome.last()["values"]["validation/accuracy"];
    CHECK(right / static_cast<double>(rows.size() - 1) == Approx(accuracy));
  }
}

}  // namespace rung
