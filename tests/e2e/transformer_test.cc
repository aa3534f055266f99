// The built-in trainer through coordinator and worker: a small random BERT is fine-tuned and tested, what is
// printed at the end says how well, and a killed worker changes no result.
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr int kWords = 200;
constexpr int kHidden = 32;
constexpr int kTestRows = 60;
constexpr double kStudySeconds = 100;

// Numbers that are the same on every machine; how good they are does not matter.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(seed) {}
  float Next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<float>(static_cast<double>(state_ >> 40) / static_cast<double>(1 << 24) - 0.5);
  }

 private:
  uint64_t state_;
};

class Weights {
 public:
  void Add(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t size = 1;
    for (const int64_t length : shape) size *= length;
    const bool norm = name.find("LayerNorm.weight") != std::string::npos;
    const size_t begin = bytes_.size();
    for (int64_t i = 0; i < size; ++i) {
      const float value = norm ? 1.0F : 0.2F * numbers_.Next();
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, bytes_.size()}}};
  }
  void AddLinear(const std::string& name, int64_t out, int64_t in) {
    Add(name + ".weight", {out, in});
    Add(name + ".bias", {out});
  }
  void AddNorm(const std::string& name) {
    Add(name + ".LayerNorm.weight", {kHidden});
    Add(name + ".LayerNorm.bias", {kHidden});
  }
  void Write(const std::string& path) const {
    const std::string header = header_.dump();
    const uint64_t size = header.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
    file << header << bytes_;
  }

 private:
  Numbers numbers_{1};
  nlohmann::json header_ = {{"__metadata__", {{"format", "pt"}}}};
  std::string bytes_;
};

void WriteModel(const std::string& directory) {
  std::filesystem::create_directories(directory);
  std::ofstream vocabulary(directory + "/vocab.txt");
  vocabulary << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int i = 0; i < kWords; ++i) vocabulary << "w" << i << "\n";
  std::ofstream(directory + "/config.json") << nlohmann::json{
      {"model_type", "bert"},          {"vocab_size", kWords + 5},   {"hidden_size", kHidden},
      {"num_hidden_layers", 2},        {"num_attention_heads", 2},   {"intermediate_size", 64},
      {"max_position_embeddings", 64}, {"type_vocab_size", 2},       {"hidden_act", "gelu"},
      {"layer_norm_eps", 1e-12},       {"hidden_dropout_prob", 0.1}, {"attention_probs_dropout_prob", 0.1},
      {"initializer_range", 0.02},     {"pad_token_id", 0}};
  Weights weights;
  weights.Add("embeddings.word_embeddings.weight", {kWords + 5, kHidden});
  weights.Add("embeddings.position_embeddings.weight", {64, kHidden});
  weights.Add("embeddings.token_type_embeddings.weight", {2, kHidden});
  weights.AddNorm("embeddings");
  for (const std::string layer : {"encoder.layer.0.", "encoder.layer.1."}) {
    for (const std::string part : {"query", "key", "value"}) {
      weights.AddLinear(layer + "attention.self." + part, kHidden, kHidden);
    }
    weights.AddLinear(layer + "attention.output.dense", kHidden, kHidden);
    weights.AddNorm(layer + "attention.output");
    weights.AddLinear(layer + "intermediate.dense", 64, kHidden);
    weights.AddLinear(layer + "output.dense", kHidden, 64);
    weights.AddNorm(layer + "output");
  }
  weights.AddLinear("pooler.dense", kHidden, kHidden);
  weights.Write(directory + "/model.safetensors");
}

// The label decides which words are frequent.
void WriteData(const std::string& path, int rows, uint64_t seed) {
  std::ofstream file(path);
  Numbers numbers(seed);
  file << "sentence,label\n";
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < 20; ++j) {
      const double x = numbers.Next() + 0.5;
      const int word = static_cast<int>(x * kWords / 2) + (numbers.Next() > 0.2 ? (i % 2) * kWords / 2 : 0);
      file << (j == 0 ? "w" : " w") << std::min(word, kWords - 1);
    }
    file << "," << (i % 2 == 0 ? "even" : "odd") << "\n";
  }
}

nlohmann::json Study(const std::string& root) {
  WriteModel(root + "/model");
  WriteData(root + "/train.csv", 1200, 1);
  WriteData(root + "/validation.csv", 100, 2);
  WriteData(root + "/test.csv", kTestRows, 3);
  return {{"name", "small"},
          {"trainer",
           {{"type", "text_classification"},
            {"train", "train.csv"},
            {"validation", "validation.csv"},
            {"test", "test.csv"},
            {"text", "sentence"},
            {"label", "label"},
            {"checkpoints", {{"every", 0.1}}},
            {"options",
             {{"model_name_or_path", "model"},
              {"max_seq_length", 32},
              {"per_device_train_batch_size", 8},
              {"optimizer_name", "AdamW"},
              {"warmup_steps", 2}}}}},
          {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
          {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 3}, {"eta", 3}}},
          {"algorithm", {{"type", "hyperband"}}},
          {"space", {{"learning_rate", {{"low", 1e-6}, {"high", 3e-3}, {"log", true}, {"default", 1e-6}}}}},
          {"stop", {{"brackets", 1}}},
          {"enqueue", {{{"config", "default"}, {"to", "max"}}}},
          {"seed", 3}};
}

void CheckFinished(const Site& site, Process& run) {
  const std::optional<int> code = run.Wait(kStudySeconds);
  INFO(site.Output());
  REQUIRE(code.has_value());
  REQUIRE(*code == 0);
}

// What of an attempt at the second rung is on disk: trial -> its checkpoints.
std::map<int64_t, std::set<std::string>> SecondRungCheckpoints(const Site& site) {
  std::map<int64_t, std::set<std::string>> found;
  std::error_code error;
  const std::filesystem::path root = site.state_dir() + "/studies/1/checkpoints";
  for (const auto& trial : std::filesystem::directory_iterator(root, error)) {
    for (const auto& entry : std::filesystem::directory_iterator(trial.path() / "1/0/1", error)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("update-") && !name.ends_with(".tmp"))
        found[std::stoll(trial.path().filename())].insert(name);
    }
  }
  return found;
}

std::vector<pid_t> Of(const Process& run, const std::string& program) {
  std::vector<pid_t> pids = Descendants(run.pid());
  std::erase_if(pids, [&](pid_t pid) { return ProgramOf(pid) != program; });
  return pids;
}

// Budgets of the checkpoints that the coordinator was told of, of one attempt at the second rung.
std::vector<double> ToldCheckpoints(const Site& site, int64_t trial, int64_t attempt) {
  std::vector<double> budgets;
  const nlohmann::json shown = site.Ask({"trial", "show", std::to_string(trial)});
  for (const nlohmann::json& event : shown["events"]) {
    if (event["kind"] != "checkpoint" || event["rung"] != 1 || event["attempt"] != attempt) continue;
    budgets.push_back(std::stod(event["text"].get<std::string>().substr(std::string("at budget ").size())));
  }
  return budgets;
}

// The trial whose trainer was stopped in the middle of the second rung, after a checkpoint that the
// coordinator knows of. The first of two checkpoints was told before the second was begun.
int64_t StopInMidRung(const Site& site, const Process& run) {
  std::map<int64_t, std::set<std::string>> seen;
  int64_t trial = 0;
  REQUIRE(WaitFor(kStudySeconds, [&] {
    for (const auto& [id, names] : SecondRungCheckpoints(site)) {
      seen[id].insert(names.begin(), names.end());
      if (seen[id].size() >= 2) trial = id;
    }
    return trial != 0;
  }));
  for (const pid_t trainer : Of(run, "rung-trainer")) REQUIRE(kill(trainer, SIGSTOP) == 0);
  REQUIRE(WaitFor(kStudySeconds, [&] { return !ToldCheckpoints(site, trial, 1).empty(); }));
  return trial;
}

bool HasTrainer() {
  if (std::filesystem::exists(std::string(RUNG_BIN_DIR) + "/rung-trainer")) return true;
  WARN("rung-trainer is not built here: left out");
  return false;
}

// The run that others are compared with; made once.
const Site& Undisturbed() {
  static const Site site(Study);
  static const bool ran = [] {
    const auto run = site.Run(1);
    CheckFinished(site, *run);
    return true;
  }();
  REQUIRE(ran);
  return site;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("where rung-trainer does not load the run ends and blames no config, and goes on elsewhere") {
  if (!HasTrainer()) return;
  const Site site(Study);
  const std::string bin = site.root() + "/bin";
  std::filesystem::create_directories(bin);
  for (const char* program : {"rung", "rungd", "rung-worker"}) {
    std::filesystem::copy_file(std::string(RUNG_BIN_DIR) + "/" + program, bin + "/" + program);
  }
  std::ofstream(bin + "/rung-trainer") << "#!/bin/sh\necho 'no libtorch.so' >&2\nexit 127\n";
  std::filesystem::permissions(bin + "/rung-trainer", std::filesystem::perms::owner_all);
  const Finished broken =
      RunProgram({bin + "/rung", "run", "study.json", "--no-check"}, site.root(), kStudySeconds);
  CHECK(broken.code == 1);
  CHECK_THAT(broken.err, Catch::Contains("E0699") && Catch::Contains("no libtorch.so"));
  const nlohmann::json study = site.Ask({"study", "show"});
  CHECK(study["state"] == "running");
  CHECK(study["failures_by_cause"].empty());
  const auto run = site.Run(1);
  CheckFinished(site, *run);
}

TEST_CASE("a fine-tuned model and the default are tested, and shown side by side") {
  if (!HasTrainer()) return;
  const Site& site = Undisturbed();
  const std::string output = site.Output();
  CAPTURE(output);
  CHECK(Count(output, " incumbent ") == 1);
  CHECK(Count(output, "\ntest/f1_macro ") == 1);
  CHECK(Count(output, "\nincumbent, test ") == 1);
  CHECK(Count(output, "\ndefault, test ") == 1);
  CHECK(Count(output, "said even  said odd") == 2);
  CHECK(Count(output, "\nis odd ") == 2);
  // Two trials go on to three epochs from one: of ten epochs two are not trained again.
  CHECK(Count(output,
              "Trained 8 epochs; resuming promoted trials and copying known results saved 2 (20 %); 2 trials "
              "resumed") == 1);

  const nlohmann::json outcome = site.Ask({"run", "study.json"});
  CHECK(outcome["incumbent"]["trial"] != outcome["default"]["trial"]);
  for (const char* of : {"incumbent", "default"}) {
    const nlohmann::json& row = outcome[of];
    CAPTURE(row.dump());
    CHECK(row["score_rung"] == 1);
    CHECK(row["evaluation"]["values"]["test/rows"] == kTestRows);
    int64_t rows = 0;
    for (const nlohmann::json& line : row["confusion_matrix"]["counts"]) {
      for (const nlohmann::json& count : line) rows += count.get<int64_t>();
    }
    CHECK(rows == kTestRows);
  }
}

// The demo's check asks for more than a study of four trials can give; every key that it reads is read here.
TEST_CASE("what `rung run` prints of a finished study has the keys that the demo's check reads") {
  if (!HasTrainer()) return;
  const Site& site = Undisturbed();
  std::ofstream(site.root() + "/outcome.json") << site.Ask({"run", "study.json"}).dump();
  const std::string check =
      "import json, sys; sys.path.insert(0, sys.argv[1]); import check_demo; check_demo.MODEL_PROPOSALS = 0; "
      "print(list(check_demo.complaints(json.load(open('outcome.json')))))";
  const Finished checked = RunProgram(
      {"/usr/bin/env", "python3", "-B", "-c", check, std::string(RUNG_SOURCE_DIR) + "/examples/spam"},
      site.root(), kStudySeconds);
  INFO(checked.err);
  CHECK(checked.code == 0);
  CHECK(checked.out == "[]\n");
}

TEST_CASE("kill -9 of a worker while it fine-tunes a transformer changes no result") {
  if (!HasTrainer()) return;
  const Site& undisturbed = Undisturbed();
  const Site site(Study);
  const auto run = site.Run(1);
  const int64_t trial = StopInMidRung(site, *run);
  const double kept = ToldCheckpoints(site, trial, 1).back();
  CHECK(kept < 3);
  for (const pid_t worker : Of(*run, "rung-worker")) REQUIRE(kill(worker, SIGKILL) == 0);
  CheckFinished(site, *run);
  CHECK(site.Results() == undisturbed.Results());
  // The next attempt began where the checkpoint stands.
  CHECK(ToldCheckpoints(site, trial, 2).front() > kept);
  const std::string log =
      ReadFile(site.state_dir() + absl::StrFormat("/studies/1/logs/%d-1-0-2.log", trial)).value_or("");
  CHECK(Count(log, "attempt_started") == 1);
  CHECK(Count(log, "starting_anew") == 0);
  const nlohmann::json trials = site.Ask({"trial", "list"});
  int64_t losses = 0;
  for (const nlohmann::json& row : trials["trials"]) {
    CHECK(row["cause"].is_null());
    for (const nlohmann::json& rung : row["rungs"]) {
      losses += rung["replicates"][0]["losses"].get<int64_t>();
    }
  }
  CHECK(losses == 1);
  // What was trained twice would be charged twice.
  const auto charged = [](const Site& of) {
    return of.Ask({"study", "show"})["budget_charged"].get<double>();
  };
  CHECK(charged(site) == Approx(charged(undisturbed)).epsilon(1e-6));
}

}  // namespace
}  // namespace rung
