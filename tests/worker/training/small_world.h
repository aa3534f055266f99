// A model directory of two small layers, data files and trial files in a temporary directory, and a trainer
// that runs them.
#pragma once

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/scratch.h"
#include "worker/model/counter_random.h"
#include "worker/text/model_tensors.h"
#include "worker/training/attempt.h"

namespace rung {

using nlohmann::json;

// Time that moves a second with every look, and a hook that is called then: how tests act in the middle of
// training.
class SteppingClock final : public Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch(); }
  absl::Duration Steady() override {
    ++looks_;
    if (on_look) on_look(looks_);
    return absl::Seconds(looks_);
  }
  std::function<void(int64_t)> on_look;

 private:
  int64_t looks_ = 0;
};

class SmallWorld {
 public:
  static constexpr int kWords = 400;

  std::string Path(const std::string& name) const { return scratch_.path(name); }

  // A random BERT of two layers, 32 wide; `scale` multiplies its weights. Returns its directory.
  std::string Model(uint64_t seed, float scale = 1) {
    const std::string directory = Path("model-" + std::to_string(seed) + "-" + std::to_string(scale));
    if (std::filesystem::exists(directory)) return directory;
    std::filesystem::create_directories(directory);
    std::ofstream vocabulary(directory + "/vocab.txt");
    vocabulary << "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (int i = 0; i < kWords; ++i) vocabulary << "w" << i << "\n";
    std::ofstream(directory + "/config.json") << json{
        {"model_type", "bert"},           {"vocab_size", kWords + 5},   {"hidden_size", 32},
        {"num_hidden_layers", 2},         {"num_attention_heads", 2},   {"intermediate_size", 64},
        {"max_position_embeddings", 512}, {"type_vocab_size", 2},       {"hidden_act", "gelu"},
        {"layer_norm_eps", 1e-12},        {"hidden_dropout_prob", 0.1}, {"attention_probs_dropout_prob", 0.1},
        {"initializer_range", 0.02},      {"pad_token_id", 0}};
    WriteWeights(directory + "/model.safetensors", seed, scale);
    return directory;
  }

  // A random model of two layers of another family: "distilbert" or "roberta"; "bert" is Model(1).
  std::string Model(const std::string& family) {
    if (family == "bert") return Model(1);
    const std::string directory = Path("model-" + family);
    if (std::filesystem::exists(directory)) return directory;
    std::filesystem::create_directories(directory);
    std::filesystem::copy_file(Model(1) + "/vocab.txt", directory + "/vocab.txt");
    json config = {{"model_type", family}, {"vocab_size", kWords + 5}, {"max_position_embeddings", 514}};
    config.update(family == "distilbert"
                      ? json{{"dim", 32}, {"n_layers", 2}, {"n_heads", 2}, {"hidden_dim", 64}}
                      : json{{"hidden_size", 32},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 2},
                             {"intermediate_size", 64},
                             {"type_vocab_size", 1}});
    std::ofstream(directory + "/config.json") << config;
    const auto read = ReadModelConfig(directory);
    INFO(read.status());
    REQUIRE(read.ok());
    std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
    for (const ModelTensor& tensor : EncoderTensors(*read)) tensors.emplace_back(tensor.name, tensor.shape);
    WriteTensors(directory + "/model.safetensors", tensors, 1, 1);
    return directory;
  }

  // rows of `shortest` to `longest` words; the label decides which words are frequent.
  std::string Data(const std::string& name, int rows, int shortest, int longest, uint64_t seed = 1,
                   int labels = 2) {
    const std::string path = Path(name);
    std::ofstream file(path);
    CounterRandom random(seed);
    file << "sentence,label\n";
    for (int i = 0; i < rows; ++i) {
      const int label = i % labels;
      const int words =
          shortest + static_cast<int>(random.Below(static_cast<uint64_t>(longest - shortest + 1)));
      for (int j = 0; j < words; ++j) {
        const uint64_t word = random.Below(3) != 0
                                  ? random.Below(kWords / 4) + static_cast<uint64_t>(label * 100)
                                  : random.Below(kWords);
        file << (j == 0 ? "w" : " w") << word;
      }
      file << "," << label << "\n";
    }
    return path;
  }

  // A trial on train.csv and validation.csv (made if missing: 200 and 40 rows of 5 to 30 words).
  json Trial(const json& config = json::object()) {
    if (!std::filesystem::exists(Path("train.csv"))) Data("train.csv", 200, 5, 30);
    if (!std::filesystem::exists(Path("validation.csv"))) Data("validation.csv", 40, 5, 30, 2);
    const std::string model = Model(1);
    const std::string number = std::to_string(++trials_);
    for (const char* part : {"checkpoints-", "output-"})
      std::filesystem::create_directories(Path(part + number));
    json options = {{"model_name_or_path", model},
                    {"max_seq_length", 32},
                    {"per_device_train_batch_size", 16},
                    {"learning_rate", 1e-3},
                    {"warmup_steps", 2}};
    for (const auto& [key, value] : config.items()) options.erase(key);
    return {{"protocol", 1},
            {"kind", "train"},
            {"study", 1},
            {"trial", 1},
            {"rung", 0},
            {"replicate", 0},
            {"attempt", 1},
            {"seed", 42},
            {"fold", nullptr},
            {"config", config},
            {"trainer",
             {{"type", "text_classification"},
              {"train", Path("train.csv")},
              {"validation", Path("validation.csv")},
              {"text", "sentence"},
              {"label", "label"},
              {"split_seed", 42},
              {"checkpoints", {{"every", 0}, {"keep_last", 1000}}},
              {"options", options}}},
            {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
            {"on_promotion", "resume"},
            {"budget", {{"unit", "epochs"}, {"from", 0}, {"to", 1}, {"max", 3}}},
            {"checkpoint_dir", Path("checkpoints-" + number)},
            {"resume_dir", nullptr},
            {"inputs", {{model, model}}},
            {"data_sha256", json::object()},
            {"output_dir", Path("output-" + number)},
            {"deadline_seconds", nullptr}};
  }

  struct Outcome {
    AttemptEnd end = AttemptEnd::kReported;
    std::vector<json> lines;
    json last() const { return lines.empty() ? json() : lines.back(); }
  };

  // Runs the trial in a process of its own making: nothing is warm. `clock` may be null.
  Outcome Run(const json& trial, SteppingClock* clock = nullptr, Requests* requests = nullptr) {
    SteppingClock own_clock;
    Requests own_requests;
    SteppingClock& used_clock = clock == nullptr ? own_clock : *clock;
    const std::string lines_path = Path("lines"), trial_path = Path("trial.json");
    std::ofstream(trial_path) << trial;
    const int descriptor = ::open(lines_path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE(descriptor >= 0);
    MessagePipe pipe(descriptor);
    Log log("test", used_clock);
    REQUIRE(log.OpenFile(Path("log")).ok());
    AttemptRunner runner(pipe, requests == nullptr ? own_requests : *requests, log, used_clock);
    const auto end = runner.Run(trial_path);
    ::close(descriptor);
    REQUIRE(end.ok());
    Outcome outcome;
    outcome.end = *end;
    std::ifstream lines(lines_path);
    for (std::string line; std::getline(lines, line);) outcome.lines.push_back(json::parse(line));
    return outcome;
  }

  // Runs to the end and returns the hash of the final weights.
  std::string Weights(const json& trial) {
    const Outcome outcome = Run(trial);
    INFO(outcome.last());
    REQUIRE(outcome.last()["type"] == "result");
    return WeightsAt(trial, outcome.last()["values"]["train/updates"]);
  }

  std::string CheckpointAt(const json& trial, int64_t update) const {
    char name[32];
    std::snprintf(name, sizeof(name), "/update-%08lld", static_cast<long long>(update));
    return trial["checkpoint_dir"].get<std::string>() + name;
  }
  std::string WeightsAt(const json& trial, int64_t update) const {
    const auto hash = FileSha256Hex(CheckpointAt(trial, update) + "/model.safetensors");
    REQUIRE(hash.ok());
    return *hash;
  }

 private:
  static void WriteWeights(const std::string& path, uint64_t seed, float scale) {
    std::vector<std::pair<std::string, std::vector<int64_t>>> tensors = {
        {"embeddings.word_embeddings.weight", {kWords + 5, 32}},
        {"embeddings.position_embeddings.weight", {512, 32}},
        {"embeddings.token_type_embeddings.weight", {2, 32}},
        {"embeddings.LayerNorm.weight", {32}},
        {"embeddings.LayerNorm.bias", {32}},
        {"pooler.dense.weight", {32, 32}},
        {"pooler.dense.bias", {32}}};
    for (const std::string layer : {"encoder.layer.0.", "encoder.layer.1."}) {
      for (const std::string part :
           {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
        tensors.push_back({layer + part + ".weight", {32, 32}});
        tensors.push_back({layer + part + ".bias", {32}});
      }
      tensors.push_back({layer + "intermediate.dense.weight", {64, 32}});
      tensors.push_back({layer + "intermediate.dense.bias", {64}});
      tensors.push_back({layer + "output.dense.weight", {32, 64}});
      tensors.push_back({layer + "output.dense.bias", {32}});
      for (const std::string norm : {"attention.output.LayerNorm", "output.LayerNorm"}) {
        tensors.push_back({layer + norm + ".weight", {32}});
        tensors.push_back({layer + norm + ".bias", {32}});
      }
    }
    WriteTensors(path, tensors, seed, scale);
  }

  static void WriteTensors(const std::string& path,
                           const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors,
                           uint64_t seed, float scale) {
    CounterRandom random(seed);
    json header = json::object();
    std::string bytes;
    for (const auto& [name, shape] : tensors) {
      int64_t count = 1;
      for (const int64_t extent : shape) count *= extent;
      header[name] = {{"dtype", "F32"},
                      {"shape", shape},
                      {"data_offsets", {bytes.size(), bytes.size() + static_cast<size_t>(count) * 4}}};
      const bool one = name.ends_with("LayerNorm.weight") || name.ends_with("layer_norm.weight");
      for (int64_t i = 0; i < count; ++i) {
        const float value = one ? 1.0f : scale * static_cast<float>(random.Normal() * 0.1);
        bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
      }
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << text << bytes;
  }

  const Scratch scratch_;
  int trials_ = 0;
};

}  // namespace rung
