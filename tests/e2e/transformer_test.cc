// The interruptions with the built-in trainer: a small random BERT is fine-tuned, and a killed worker changes
// no result.
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/e2e/process.h"
#include "tests/e2e/site.h"

namespace rung {
namespace {

constexpr int kWords = 200;
constexpr int kHidden = 32;
constexpr double kStudySeconds = 100;

// Numbers that are the same on every machine; how good they are does not matter.
class Numbers {
 public:
  float Next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<float>(static_cast<double>(state_ >> 40) / static_cast<double>(1 << 24) - 0.5);
  }

 private:
  uint64_t state_ = 1;
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
  Numbers numbers_;
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
void WriteData(const std::string& path, int rows) {
  std::ofstream file(path);
  Numbers numbers;
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
  WriteData(root + "/train.csv", 1200);
  WriteData(root + "/validation.csv", 100);
  return {{"name", "small"},
          {"trainer",
           {{"type", "text_classification"},
            {"train", "train.csv"},
            {"validation", "validation.csv"},
            {"text", "sentence"},
            {"label", "label"},
            {"options",
             {{"model_name_or_path", "model"},
              {"max_seq_length", 32},
              {"per_device_train_batch_size", 8},
              {"optimizer_name", "AdamW"},
              {"warmup_steps", 2}}}}},
          {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
          {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 3}, {"eta", 3}}},
          {"algorithm", {{"type", "hyperband"}}},
          {"space", {{"learning_rate", {{"low", 1e-4}, {"high", 3e-3}, {"log", true}}}}},
          {"stop", {{"brackets", 1}}},
          {"seed", 3}};
}

void CheckFinished(const Site& site, Process& run) {
  const std::optional<int> code = run.Wait(kStudySeconds);
  INFO(site.Output());
  REQUIRE(code.has_value());
  REQUIRE(*code == 0);
}

// The worker whose trainer has its log open for an attempt at the second rung.
bool SecondRungStarted(const Site& site) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(site.state_dir() + "/studies/1/logs", error)) {
    if (entry.path().filename().string().find("-1-0-") != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("kill -9 of a worker while it fine-tunes a transformer changes no result") {
  if (!std::filesystem::exists(std::string(RUNG_BIN_DIR) + "/rung-trainer")) {
    WARN("rung-trainer is not built here: left out");
    return;
  }
  const Site undisturbed(Study);
  {
    const auto run = undisturbed.Run(1);
    CheckFinished(undisturbed, *run);
  }
  const Site site(Study);
  const auto run = site.Run(1);
  REQUIRE(WaitFor(kStudySeconds, [&] { return SecondRungStarted(site); }));
  const std::vector<pid_t> all = Descendants(run->pid());
  const auto worker =
      std::find_if(all.begin(), all.end(), [](pid_t pid) { return ProgramOf(pid) == "rung-worker"; });
  REQUIRE(worker != all.end());
  REQUIRE(kill(*worker, SIGKILL) == 0);
  CheckFinished(site, *run);
  CHECK(site.Results() == undisturbed.Results());
  const nlohmann::json trials = site.Ask({"trial", "list"});
  int64_t losses = 0;
  for (const nlohmann::json& trial : trials["trials"]) {
    CHECK(trial["cause"].is_null());
    for (const nlohmann::json& rung : trial["rungs"])
      losses += rung["replicates"][0]["losses"].get<int64_t>();
  }
  CHECK(losses == 1);
}

}  // namespace
}  // namespace rung
