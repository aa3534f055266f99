// Rows with several labels, and rows with a number: trained, resumed, evaluated, exported, predicted.
#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/worker/training/small_world.h"
#include "worker/training/model_export.h"

namespace rung {
namespace {

json ReadJson(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  return json::parse(file);
}

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Row i has joy if i is odd and anger if i / 2 is: words from 0 speak of joy, words from 100 of anger.
// `score` counts both.
std::string WriteRows(const SmallWorld& world, const std::string& name, int rows, uint64_t seed) {
  const std::string path = world.Path(name);
  std::ofstream file(path);
  CounterRandom random(seed);
  file << "id,sentence,joy,anger,names,score\n";
  for (int i = 0; i < rows; ++i) {
    const bool joy = i % 2 != 0, anger = i / 2 % 2 != 0;
    file << i << ",";
    for (int j = 0; j < 12; ++j) {
      const uint64_t word = j < 4 && joy      ? random.Below(50)
                            : j >= 8 && anger ? 100 + random.Below(50)
                                              : 200 + random.Below(200);
      file << (j == 0 ? "w" : " w") << word;
    }
    const std::string names = joy && anger ? "joy;anger" : joy ? "joy" : anger ? "anger" : "";
    file << "," << joy << "," << anger << "," << names << "," << joy + anger - 0.5 << "\n";
  }
  return path;
}

json TaskTrial(SmallWorld& world, const json& keys, double epochs) {
  json trial = world.Trial({{"learning_rate", 5e-3}});
  json& trainer = trial["trainer"];
  trainer.update(keys);
  trainer["train"] = WriteRows(world, "rows.csv", 480, 1);
  trainer["validation"] = WriteRows(world, "more.csv", 48, 2);
  trainer["test"] = WriteRows(world, "test.csv", 33, 3);
  const bool number = keys.contains("regression");
  trial["objective"] = {{"metric", number ? "validation/pearson" : "validation/f1_macro"},
                        {"goal", "maximize"}};
  trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", epochs}, {"max", epochs}};
  return trial;
}

json Result(const SmallWorld::Outcome& outcome) {
  INFO(outcome.last());
  REQUIRE(outcome.last()["type"] == "result");
  return outcome.last();
}

const json kColumns = {{"multi_label", true}, {"label", {"joy", "anger"}}};
const json kNames = {{"multi_label", true}, {"label", "names"}, {"label_separator", ";"}};
const json kNumber = {{"regression", true}, {"label", "score"}};

}  // namespace

TEST_CASE("rows with several labels are learnt, however the file writes them") {
  SmallWorld world;
  for (const json& keys : {kColumns, kNames}) {
    const json trial = TaskTrial(world, keys, 10);
    const json result = Result(world.Run(trial));
    CHECK(result["values"]["validation/f1_macro"] > 0.8);
    CHECK(result["values"]["train/loss"] < 0.5);
    CHECK(result["values"].contains("train/accuracy"));
    CHECK_FALSE(result["values"].contains("validation/mcc"));
    const json matrix = ReadJson(trial["output_dir"].get<std::string>() + "/confusion_matrix.json");
    CHECK(matrix["labels"] == (keys == kColumns ? json({"joy", "anger"}) : json({"anger", "joy"})));
    REQUIRE(matrix["matrices"].size() == 2);
    for (const json& one : matrix["matrices"]) {
      CHECK(one[0][0].get<int>() + one[0][1].get<int>() == 24);
      CHECK(one[1][0].get<int>() + one[1][1].get<int>() == 24);
    }
    CHECK(matrix["classes"][0]["support"] == 24);
  }
}

TEST_CASE("a number is learnt") {
  SmallWorld world;
  const json trial = TaskTrial(world, kNumber, 10);
  const json result = Result(world.Run(trial));
  CHECK(result["values"]["validation/pearson"] > 0.7);
  CHECK(result["values"]["validation/spearman"] > 0.7);
  CHECK(result["values"]["validation/loss"] < 0.5);  // the targets' variance
  CHECK(result["values"].contains("train/loss"));
  CHECK_FALSE(result["values"].contains("train/pearson"));
  CHECK_FALSE(result["outputs"].contains("confusion_matrix"));
}

TEST_CASE("for every task resumed training is uninterrupted training, and its scores are the same") {
  SmallWorld world;
  for (const json& keys : {kColumns, kNumber}) {
    INFO(keys);
    const auto steps = [&](double to) {
      json trial = TaskTrial(world, keys, 1);
      trial["budget"] = {{"unit", "steps"}, {"from", 0}, {"to", to}, {"max", 9}};
      return trial;
    };
    const json straight = steps(9), first = steps(4);
    json second = steps(9);
    second["resume_dir"] = first["checkpoint_dir"];
    const json expected = Result(world.Run(straight))["values"];
    Result(world.Run(first));
    const json resumed = Result(world.Run(second))["values"];
    CHECK(world.WeightsAt(second, 9) == world.WeightsAt(straight, 9));
    for (const auto& [name, value] : expected.items()) {
      INFO(name);
      if (!name.ends_with("seconds")) CHECK(resumed[name] == value);
    }
  }
}

TEST_CASE("a checkpoint of one task is none of another's") {
  SmallWorld world;
  const json trained = TaskTrial(world, kColumns, 1);
  Result(world.Run(trained));
  json names = TaskTrial(world, kNames, 1);
  names["resume_dir"] = trained["checkpoint_dir"];
  const json fresh = TaskTrial(world, kNames, 1);
  const json anew = Result(world.Run(names)), expected = Result(world.Run(fresh));
  CHECK(anew["values"]["train/loss"] == expected["values"]["train/loss"]);
}

TEST_CASE("a model of every task is evaluated, exported, and labels new text") {
  SmallWorld world;
  for (const auto& [keys, type] :
       {std::pair{kColumns, "multi_label_classification"}, std::pair{kNumber, "regression"}}) {
    INFO(type);
    const json trained = TaskTrial(world, keys, 3);
    Result(world.Run(trained));
    json evaluation = TaskTrial(world, keys, 3);
    evaluation["kind"] = "evaluate";
    evaluation["resume_dir"] = trained["checkpoint_dir"];
    const json result = Result(world.Run(evaluation));
    CHECK(result["values"]["test/rows"] == 33);
    CHECK(result["values"].contains(keys == kNumber ? "test/spearman" : "test/f1_micro"));
    CHECK(result["outputs"].contains("false_predictions") == (keys == kColumns));
    if (keys == kColumns) {
      const auto wrong = Lines(evaluation["output_dir"].get<std::string>() + "/false_predictions.csv");
      const double right = result["values"]["test/accuracy"];
      CHECK(static_cast<double>(wrong.size() - 1) == Approx(33 * (1 - right)));
    }
    const std::string out = world.Path(std::string("model-") + type),
                      csv = world.Path(std::string("csv-") + type);
    const absl::Status exported = ExportModel(trained["checkpoint_dir"], out);
    INFO(exported);
    REQUIRE(exported.ok());
    const json config = ReadJson(out + "/config.json");
    CHECK(config["problem_type"] == type);
    CHECK(config["id2label"] ==
          (keys == kNumber ? json{{"0", "score"}} : json{{"0", "joy"}, {"1", "anger"}}));
    const absl::Status predicted = PredictFile({out, world.Path("test.csv"), {}, csv, 7});
    INFO(predicted);
    REQUIRE(predicted.ok());
    const std::vector<std::string> lines = Lines(csv);
    REQUIRE(lines.size() == 34);
    REQUIRE(PredictFile({out, world.Path("test.csv"), {}, csv + ".json", 7, true, true}).ok());
    const json said = ReadJson(csv + ".json");
    REQUIRE(said.size() == 33);
    CHECK(said[0].contains("value") == (keys == kNumber));
    CHECK(said[0].contains("probabilities") == (keys == kColumns));
    CHECK(said[0]["logits"].size() == (keys == kNumber ? 1u : 2u));
    if (keys == kNumber) {
      CHECK(lines[0] == "sentence,value");
      // What was written is what was scored: the same squared error.
      double loss = 0;
      const std::vector<std::string> rows = Lines(world.Path("test.csv"));
      for (size_t i = 1; i < lines.size(); ++i) {
        const double truth = std::stod(rows[i].substr(rows[i].rfind(',') + 1));
        loss += std::pow(std::stod(lines[i].substr(lines[i].rfind(',') + 1)) - truth, 2) / 33;
      }
      CHECK(loss == Approx(result["values"]["test/loss"].get<double>()).epsilon(1e-5));
    } else {
      CHECK(lines[0] == "sentence,label,probability joy,probability anger");
      for (size_t i = 1; i < lines.size(); ++i) {
        const std::vector<std::string> cells = absl::StrSplit(lines[i], ',');
        const bool joy = std::stod(cells[cells.size() - 2]) > 0.5, anger = std::stod(cells.back()) > 0.5;
        const std::string label = joy && anger ? ",\"joy,anger\"," : joy ? ",joy," : anger ? ",anger," : ",,";
        CHECK(lines[i].find(label) != std::string::npos);
      }
    }
  }
}

// With micro-batches too the mean is by the weights of the whole update, so that weights of 2 are as weights
// of 1.
TEST_CASE("class weights act, and only their proportions do") {
  SmallWorld world;
  const auto run = [&](const json& weights, int accumulation) {
    json trial = world.Trial({{"gradient_accumulation_steps", accumulation}, {"optimizer_name", "SGD"}});
    if (!weights.is_null()) trial["trainer"]["class_weights"] = weights;
    const json result = Result(world.Run(trial));
    return std::pair{result["values"]["validation/loss"].get<double>(),
                     world.WeightsAt(trial, result["values"]["train/updates"])};
  };
  for (const int accumulation : {1, 3}) {
    const auto plain = run(nullptr, accumulation);
    CHECK(run(json::array({1, 1}), accumulation) == plain);
    CHECK(run(json::array({2, 2}), accumulation).first == Approx(plain.first).epsilon(1e-6));
    const auto weighted = run(json::array({4, 1}), accumulation);
    CHECK(weighted.second != plain.second);
    CHECK(run(json{{"0", 4}}, accumulation) == weighted);
    CHECK(run("balanced", accumulation) == plain);  // 100 rows of each
  }
}

TEST_CASE("class weights make the rare class be found") {
  SmallWorld world;
  const auto recall = [&](const json& weights) {
    json trial = world.Trial({{"learning_rate", 2e-3}});
    // One row of 8 has the label 1.
    std::ifstream all(world.Path("train.csv"));
    std::ofstream few(world.Path("few.csv"));
    int row = 0;
    for (std::string line; std::getline(all, line); ++row)
      if (row == 0 || line.back() == '0' || row % 8 == 0) few << line << "\n";
    few.close();
    trial["trainer"]["train"] = world.Path("few.csv");
    trial["trainer"]["class_weights"] = weights;
    trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 4}, {"max", 4}};
    Result(world.Run(trial));
    const json matrix = ReadJson(trial["output_dir"].get<std::string>() + "/confusion_matrix.json");
    return matrix["classes"][1]["recall"].get<double>();
  };
  CHECK(recall(json{{"1", 20}}) > recall(json{{"0", 20}}));
}

TEST_CASE("a label of another kind is named with its file and line") {
  SmallWorld world;
  json trial = TaskTrial(world, kColumns, 1);
  std::ofstream(world.Path("bad.csv")) << "sentence,joy,anger\nw1,1,0\nw2,0,maybe\n";
  trial["trainer"]["train"] = world.Path("bad.csv");
  const auto outcome = world.Run(trial);
  CHECK(outcome.last()["cause"] == "bad_data");
  CHECK(outcome.last()["message"].get<std::string>().find("bad.csv:3") != std::string::npos);
}

}  // namespace rung
