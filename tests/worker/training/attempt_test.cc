// What an attempt reports: results, failures with causes, checkpoints on request, evaluation of a checkpoint.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <algorithm>

#include "absl/strings/str_split.h"
#include "tests/worker/training/small_world.h"

namespace rung {
namespace {

json ReadJson(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  return json::parse(file);
}

std::vector<json> Metrics(const SmallWorld::Outcome& outcome) {
  std::vector<json> metrics;
  for (const json& line : outcome.lines) {
    if (line["type"] == "metric") metrics.push_back(line);
  }
  return metrics;
}

int64_t MatrixTotal(const json& matrix) {
  int64_t total = 0;
  for (const json& row : matrix["matrix"]) {
    for (const json& count : row) total += count.get<int64_t>();
  }
  return total;
}

}  // namespace

TEST_CASE("an attempt ends with one result line and its outputs") {
  SmallWorld world;
  const json trial = world.Trial();
  const auto outcome = world.Run(trial);
  REQUIRE(outcome.last()["type"] == "result");
  CHECK(std::count_if(outcome.lines.begin(), outcome.lines.end(),
                      [](const json& l) { return l["type"] == "result"; }) == 1);
  const json values = outcome.last()["values"];
  for (const char* name :
       {"train/loss", "train/accuracy", "train/f1_macro", "train/f1_weighted", "validation/loss",
        "validation/accuracy", "validation/f1_macro", "validation/f1_weighted"}) {
    CHECK(values.contains(name));
  }
  CHECK(values["train/rows"] == 200);  // 12 batches of 16 and one of 8
  CHECK(values["train/updates"] == 13);
  CHECK(values["train/budget"] == 1.0);
  const std::string output = trial["output_dir"];
  const json matrix =
      ReadJson(output + "/" + outcome.last()["outputs"]["confusion_matrix"].get<std::string>());
  CHECK(matrix["labels"] == json({"0", "1"}));
  CHECK(MatrixTotal(matrix) == 40);
}

TEST_CASE("an attempt computes with the threads of its options, and its result says on what it ran") {
  SmallWorld world;
  at::set_num_threads(2);
  const json trial = world.Trial();
  const auto outcome = world.Run(trial);
  CHECK(at::get_num_threads() == 1);
  REQUIRE(outcome.last()["type"] == "result");
  const json environment = ReadJson(trial["output_dir"].get<std::string>() + "/" +
                                    outcome.last()["outputs"]["environment"].get<std::string>());
  CHECK(environment["threads"] == 1);
  CHECK(environment["precision"] == "fp32");
  CHECK(environment["torch"] == TORCH_VERSION);
  CHECK(environment["instruction_set"] == at::get_cpu_capability());
  CHECK_FALSE(environment["device"].get<std::string>().empty());
  const std::string cpu = environment["cpu"];
  CHECK_FALSE(cpu.empty());
  std::ifstream file("/proc/cpuinfo");
  const std::string cpus((std::istreambuf_iterator<char>(file)), {});
  CHECK((cpus.find("model name") == std::string::npos || cpus.find(": " + cpu + "\n") != std::string::npos));

  json two = world.Trial();
  two["trainer"]["threads"] = 2;
  CHECK(world.Run(two).last()["type"] == "result");
  CHECK(at::get_num_threads() == 2);
  CHECK(ReadJson(two["output_dir"].get<std::string>() + "/environment.json")["threads"] == 2);
  at::set_num_threads(1);
}

TEST_CASE("training learns") {
  SmallWorld world;
  json trial = world.Trial({{"learning_rate", 5e-3}});
  trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 8}, {"max", 8}};
  const auto outcome = world.Run(trial);
  CHECK(outcome.last()["values"]["validation/accuracy"] > 0.8);
}

TEST_CASE("accumulation keeps the ragged last micro-batches, and units of a budget count as documented") {
  SmallWorld world;
  json trial = world.Trial({{"gradient_accumulation_steps", 4}});
  CHECK(world.Run(trial).last()["values"]["train/updates"] == 4);
  trial = world.Trial();
  trial["budget"] = {{"unit", "steps"}, {"from", 0}, {"to", 5}, {"max", 9}};
  CHECK(world.Run(trial).last()["values"]["train/budget"] == 5);
  trial = world.Trial();
  trial["budget"] = {{"unit", "samples"}, {"from", 0}, {"to", 200}, {"max", 400}};
  CHECK(world.Run(trial).last()["values"]["train/budget"] == 200);
}

TEST_CASE("budget 0 evaluates only") {
  SmallWorld world;
  json trial = world.Trial();
  trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 0}, {"max", 0}};
  const json values = world.Run(trial).last()["values"];
  CHECK(values["train/updates"] == 0);
  CHECK(values.contains("validation/accuracy"));
  CHECK(!values.contains("train/loss"));
}

TEST_CASE("kind evaluate scores a checkpoint on the test file") {
  SmallWorld world;
  const json trained = world.Trial();
  world.Weights(trained);
  json evaluation = world.Trial();
  evaluation["kind"] = "evaluate";
  evaluation["resume_dir"] = trained["checkpoint_dir"];
  evaluation["trainer"]["test"] = world.Data("test.csv", 33, 5, 30, 3);
  const auto outcome = world.Run(evaluation);
  REQUIRE(outcome.last()["type"] == "result");
  CHECK(outcome.last()["values"].contains("test/f1_macro"));
  CHECK(MatrixTotal(ReadJson(evaluation["output_dir"].get<std::string>() + "/confusion_matrix.json")) == 33);
  evaluation["resume_dir"] = world.Path("nowhere");
  CHECK(world.Run(evaluation).last()["cause"] == "crash");
}

TEST_CASE("kind evaluate lists every false prediction, the surest first") {
  SmallWorld world;
  json trained = world.Trial();
  const std::string three = world.Data("three.csv", 90, 5, 30, 1, 3);
  trained["trainer"]["train"] = three;
  trained["trainer"]["validation"] = three;
  world.Weights(trained);
  json evaluation = trained;
  evaluation["kind"] = "evaluate";
  evaluation["resume_dir"] = trained["checkpoint_dir"];
  evaluation["trainer"]["test"] = world.Data("test.csv", 50, 5, 30, 3, 3);
  const auto outcome = world.Run(evaluation);
  const std::string directory = evaluation["output_dir"].get<std::string>() + "/";
  const json outputs = outcome.last()["outputs"];
  const json matrix = ReadJson(directory + outputs["confusion_matrix"].get<std::string>())["matrix"];
  std::ifstream file(directory + outputs["false_predictions"].get<std::string>());
  std::ifstream test(world.Path("test.csv"));
  const std::string rows((std::istreambuf_iterator<char>(test)), {});
  std::string line;
  std::getline(file, line);
  CHECK(line == "text,label,predicted,probability");
  json counts = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
  double surer = 1;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    REQUIRE(cells.size() == 4);
    const auto truth = static_cast<size_t>(std::stoi(cells[1])),
               predicted = static_cast<size_t>(std::stoi(cells[2]));
    counts[truth][predicted] = counts[truth][predicted].get<int>() + 1;
    CHECK(rows.find("\n" + cells[0] + "," + cells[1] + "\n") != std::string::npos);
    const double probability = std::stod(cells[3]);
    CHECK(probability <= surer);
    CHECK(probability > 1.0 / 3);
    surer = probability;
  }
  int64_t wrong = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      if (i == j) continue;
      CHECK(counts[i][j] == matrix[i][j]);
      wrong += matrix[i][j].get<int64_t>();
    }
    CHECK(counts[i][i] == 0);
  }
  CHECK(wrong > 0);
  CHECK(wrong < 50);
}

TEST_CASE("evaluations come every evaluate_every epochs and at the rung's end; 0: there alone") {
  SmallWorld world;
  const auto budgets = [&](int every) {
    json trial = world.Trial();
    trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 6}, {"max", 6}};
    trial["trainer"]["evaluate_every"] = every;
    std::vector<double> at;
    for (const json& line : Metrics(world.Run(trial))) {
      at.push_back(line["budget"]);
      CHECK(line["values"].contains("validation/accuracy"));
    }
    return at;
  };
  CHECK(budgets(1) == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(budgets(4) == std::vector<double>{4, 6});
  CHECK(budgets(0) == std::vector<double>{6});
}

// Validation rows with the labels exchanged: the more is learnt, the worse the score.
TEST_CASE("the best evaluation is reported where the objective says so, else the last") {
  SmallWorld world;
  const std::string swapped = world.Path("swapped.csv");
  world.Trial();  // makes validation.csv
  std::ifstream rows(world.Path("validation.csv"));
  std::ofstream file(swapped);
  for (std::string row; std::getline(rows, row);) {
    if (row.back() == '0' || row.back() == '1') row.back() = row.back() == '0' ? '1' : '0';
    file << row << "\n";
  }
  file.close();
  const auto run = [&](const char* metric, const char* goal, const char* report) {
    json trial = world.Trial({{"learning_rate", 5e-3}});
    trial["budget"] = {{"unit", "epochs"}, {"from", 0}, {"to", 6}, {"max", 6}};
    trial["trainer"]["validation"] = swapped;
    trial["objective"] = {{"metric", metric}, {"goal", goal}, {"report", report}};
    const auto outcome = world.Run(trial);
    std::vector<double> scores;
    for (const json& line : Metrics(outcome)) scores.push_back(line["values"][metric]);
    REQUIRE(scores.size() == 6);
    const double result = outcome.last()["values"][metric];
    CHECK(outcome.last()["values"]["train/budget"] == 6);
    return std::pair{result, scores};
  };
  const auto [accuracy, accuracies] = run("validation/accuracy", "maximize", "best");
  CHECK(accuracy == *std::max_element(accuracies.begin(), accuracies.end()));
  CHECK(accuracy > accuracies.back());
  const auto [loss, losses] = run("validation/loss", "minimize", "best");
  CHECK(loss == *std::min_element(losses.begin(), losses.end()));
  CHECK(loss < losses.back());
  const auto [last, all] = run("validation/accuracy", "maximize", "last");
  CHECK(last == all.back());
}

TEST_CASE("a loss that is no number is a divergence, not a score") {
  SmallWorld world;
  json trial = world.Trial();
  const std::string model = world.Model(3, 1e30f);
  trial["trainer"]["options"]["model_name_or_path"] = model;
  const auto outcome = world.Run(trial);
  CHECK(outcome.last()["type"] == "failed");
  CHECK(outcome.last()["cause"] == "diverged");
}

TEST_CASE("bad data is named with its file and line") {
  SmallWorld world;
  json trial = world.Trial();
  std::ofstream(world.Path("bad.csv")) << "sentence,label\nw1 w2,0\nw3 w4\nw5,1\n";
  trial["trainer"]["train"] = world.Path("bad.csv");
  auto outcome = world.Run(trial);
  CHECK(outcome.last()["cause"] == "bad_data");
  CHECK(outcome.last()["message"].get<std::string>().find("bad.csv:3") != std::string::npos);
  trial = world.Trial();
  trial["data_sha256"][world.Path("train.csv")] = std::string(64, '0');
  outcome = world.Run(trial);
  CHECK(outcome.last()["cause"] == "bad_data");
  CHECK(outcome.last()["message"].get<std::string>().find("other bytes") != std::string::npos);
}

TEST_CASE("a checkpoint is written when it is asked for") {
  SmallWorld world;
  const json trial = world.Trial();
  SteppingClock clock;
  Requests requests;
  bool asked = false;
  clock.on_look = [&](int64_t look) {
    if (look >= 9 && !asked) requests.checkpoint = asked = true;
  };
  const auto outcome = world.Run(trial, &clock, &requests);
  CHECK(std::count_if(outcome.lines.begin(), outcome.lines.end(),
                      [](const json& l) { return l["type"] == "checkpoint"; }) == 2);
}

TEST_CASE("only the newest checkpoints are kept") {
  SmallWorld world;
  json trial = world.Trial();
  trial["trainer"]["checkpoints"] = {{"every", 0.5}, {"keep_last", 2}};
  world.Weights(trial);
  CHECK(std::distance(std::filesystem::directory_iterator(trial["checkpoint_dir"].get<std::string>()), {}) ==
        2);
}

}  // namespace rung
