#include "worker/text/model_directory.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMaxConfigBytes = 4 << 20;
constexpr int kMaxSize = 1 << 24;    // of a dimension in config.json
constexpr size_t kNamedTensors = 8;  // an error lists at most so many

bool HoldsModel(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(directory / "config.json", ignored);
}

// Where the Hub's client keeps its snapshots.
std::string HubCache() {
  if (const char* cache = std::getenv("HF_HUB_CACHE"); cache != nullptr && *cache != '\0') return cache;
  if (const char* home = std::getenv("HF_HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/hub";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + "/.cache/huggingface/hub";
}

// The newest snapshot that holds a model, or empty.
fs::path NewestSnapshot(const fs::path& repository) {
  fs::path newest;
  fs::file_time_type newest_time;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (!HoldsModel(entry.path())) continue;
    std::error_code ignored;
    const fs::file_time_type time = entry.last_write_time(ignored);
    if (newest.empty() || time > newest_time || (time == newest_time && entry.path() > newest)) {
      newest = entry.path();
      newest_time = time;
    }
  }
  return newest;
}

// Reads typed values of config.json and remembers the first fault.
class ConfigReader {
 public:
  ConfigReader(const json& config, const std::string& path) : config_(config), path_(path) {}

  int Size(const char* key, int minimum, std::optional<int> fallback = std::nullopt) {
    const json value = config_.value(key, json());
    if (value.is_null() && fallback) return *fallback;
    if (!value.is_number_integer() || value < minimum || value > kMaxSize) {
      Fault(key, value, absl::StrFormat("must be an integer from %d to %d", minimum, kMaxSize));
      return minimum;
    }
    return value.get<int>();
  }

  double Real(const char* key, double low, double high, double fallback) {
    const json value = config_.value(key, json());
    if (value.is_null()) return fallback;
    if (!value.is_number() || value < low || value > high) {
      Fault(key, value, absl::StrFormat("must be a number from %g to %g", low, high));
      return fallback;
    }
    return value.get<double>();
  }

  std::string Choice(const char* key, const std::map<std::string, std::string>& choices,
                     const std::string& fallback) {
    const json value = config_.value(key, json());
    if (value.is_null()) return fallback;
    const auto found = value.is_string() ? choices.find(value.get<std::string>()) : choices.end();
    if (found != choices.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [name, meaning] : choices) names.push_back(name);
    Fault(key, value, absl::StrFormat("is not supported; supported are %s", absl::StrJoin(names, ", ")));
    return fallback;
  }

  void Fault(const char* key, const json& value, const std::string& what) {
    if (!fault_.ok()) return;
    const std::string shown = value.is_null() ? "(missing)" : value.dump();
    fault_ = MakeError(absl::StatusCode::kInvalidArgument,
                       {"E0434", absl::StrFormat("%s = %s %s", key, shown, what), path_, shown,
                        "Use the config.json of a supported model (bert)"});
  }
  const absl::Status& fault() const { return fault_; }

 private:
  const json& config_;
  const std::string& path_;
  absl::Status fault_;
};

struct NeededTensor {
  std::string name;
  std::vector<int64_t> shape;
};

void AddLayer(const ModelConfig& config, int layer, std::vector<NeededTensor>* needed) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const std::string prefix = absl::StrFormat("encoder.layer.%d.", layer);
  const auto linear = [&](const char* name, int64_t out, int64_t in) {
    needed->push_back({prefix + name + ".weight", {out, in}});
    needed->push_back({prefix + name + ".bias", {out}});
  };
  const auto norm = [&](const char* name) {
    needed->push_back({prefix + name + ".weight", {hidden}});
    needed->push_back({prefix + name + ".bias", {hidden}});
  };
  linear("attention.self.query", hidden, hidden);
  linear("attention.self.key", hidden, hidden);
  linear("attention.self.value", hidden, hidden);
  linear("attention.output.dense", hidden, hidden);
  norm("attention.output.LayerNorm");
  linear("intermediate.dense", inner, hidden);
  linear("output.dense", hidden, inner);
  norm("output.LayerNorm");
}

std::vector<NeededTensor> NeededTensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  std::vector<NeededTensor> needed = {
      {"embeddings.word_embeddings.weight", {config.vocab_size, hidden}},
      {"embeddings.position_embeddings.weight", {config.max_position_embeddings, hidden}},
      {"embeddings.token_type_embeddings.weight", {config.type_vocab_size, hidden}},
      {"embeddings.LayerNorm.weight", {hidden}},
      {"embeddings.LayerNorm.bias", {hidden}}};
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) AddLayer(config, layer, &needed);
  needed.push_back({"pooler.dense.weight", {hidden, hidden}});
  needed.push_back({"pooler.dense.bias", {hidden}});
  return needed;
}

// Our name for a tensor of the file: without "bert.", gamma and beta (old TensorFlow conversions) as weight
// and bias.
std::string OurName(const std::string& name) {
  std::string ours = absl::StartsWith(name, "bert.") ? name.substr(5) : name;
  if (absl::EndsWith(ours, ".gamma")) ours.replace(ours.size() - 5, 5, "weight");
  if (absl::EndsWith(ours, ".beta")) ours.replace(ours.size() - 4, 4, "bias");
  return ours;
}

// What a published encoder may carry beside its weights: position numbers and heads of its former tasks.
bool IsIgnored(const std::string& name) {
  return absl::EndsWith(name, "position_ids") || absl::StartsWith(name, "cls.") ||
         absl::StartsWith(name, "classifier.");
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return "[" + absl::StrJoin(shape, ", ") + "]";
}

absl::Status CheckTensor(const NeededTensor& needed, const TensorInfo* found, const std::string& path) {
  if (found == nullptr) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0435", absl::StrFormat("the weights lack \"%s\"", needed.name), path, needed.name,
                      "Use weights that belong to this config.json"});
  }
  if (found->shape != needed.shape) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0436",
                      absl::StrFormat("\"%s\" has the shape %s, config.json needs %s", found->name,
                                      ShapeText(found->shape), ShapeText(needed.shape)),
                      path, ShapeText(found->shape), "Use weights that belong to this config.json"});
  }
  if (found->dtype != "F32" && found->dtype != "F16" && found->dtype != "BF16") {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {"E0436",
         absl::StrFormat("\"%s\" has the dtype %s; supported are F32, F16, BF16", found->name, found->dtype),
         path, found->dtype, "Save the weights as float32"});
  }
  return absl::OkStatus();
}

absl::Status NoWeights(const std::string& directory) {
  std::error_code ignored;
  const bool pickled = fs::exists(fs::path(directory) / "pytorch_model.bin", ignored);
  const bool sharded = fs::exists(fs::path(directory) / "model.safetensors.index.json", ignored);
  const char* also = pickled   ? " (pytorch_model.bin is not read)"
                     : sharded ? " (several shards are not read)"
                               : "";
  return MakeError(
      absl::StatusCode::kNotFound,
      {"E0438", absl::StrFormat("the model directory has no model.safetensors%s", also), directory, directory,
       "Save the model with save_pretrained(..., safe_serialization=True), in one file"});
}

}  // namespace

absl::StatusOr<std::string> ResolveModel(const std::string& name, const std::string& base_directory) {
  std::vector<std::string> places;
  const std::string path = AbsolutePath(name, base_directory);
  places.push_back(path);
  if (HoldsModel(path)) return path;
  std::error_code ignored;
  // A directory that exists is what was meant: its fault is told by ReadModelConfig.
  if (fs::is_directory(path, ignored)) return path;
  if (!name.empty() && !absl::StartsWith(name, "/") && !absl::StartsWith(name, ".")) {
    const fs::path repository =
        fs::path(HubCache()) / ("models--" + absl::StrReplaceAll(name, {{"/", "--"}}));
    places.push_back(repository.string());
    const fs::path snapshot = NewestSnapshot(repository);
    if (!snapshot.empty()) return snapshot.string();
  }
  return MakeError(absl::StatusCode::kNotFound, {"E0432",
                                                 absl::StrFormat("there is no model \"%s\"; looked at %s",
                                                                 name, absl::StrJoin(places, " and ")),
                                                 "", name,
                                                 "Give the path of a directory with config.json and "
                                                 "model.safetensors, or fetch the model into the Hub cache"});
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) {
    if (text.status().code() != absl::StatusCode::kNotFound) return text.status();
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0433", "the model directory has no config.json", directory, directory,
                      "Give the directory that holds config.json and model.safetensors"});
  }
  const json file = ParseJson(*text);
  if (file.is_discarded() || !file.is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument, {"E0434", "config.json is not a JSON object", path,
                                                          "", "Use the config.json of the published model"});
  }
  ConfigReader reader(file, path);
  ModelConfig config;
  if (file.value("model_type", json()) != "bert") {
    reader.Fault("model_type", file.value("model_type", json()), "is not supported; supported are bert");
    return reader.fault();
  }
  config.vocab_size = reader.Size("vocab_size", 1);
  config.hidden_size = reader.Size("hidden_size", 1);
  config.num_hidden_layers = reader.Size("num_hidden_layers", 1);
  config.num_attention_heads = reader.Size("num_attention_heads", 1);
  config.intermediate_size = reader.Size("intermediate_size", 1);
  config.max_position_embeddings = reader.Size("max_position_embeddings", 1);
  config.type_vocab_size = reader.Size("type_vocab_size", 1, 2);
  config.pad_token_id = reader.Size("pad_token_id", 0, 0);
  config.layer_norm_eps = reader.Real("layer_norm_eps", 0, 1, 1e-12);
  config.hidden_dropout_prob = reader.Real("hidden_dropout_prob", 0, 1, 0.1);
  config.attention_probs_dropout_prob = reader.Real("attention_probs_dropout_prob", 0, 1, 0.1);
  config.classifier_dropout = reader.Real("classifier_dropout", 0, 1, config.hidden_dropout_prob);
  config.initializer_range = reader.Real("initializer_range", 0, 10, 0.02);
  config.hidden_act = reader.Choice("hidden_act",
                                    {{"gelu", "gelu"},
                                     {"gelu_python", "gelu"},
                                     {"gelu_new", "gelu_new"},
                                     {"gelu_pytorch_tanh", "gelu_new"},
                                     {"relu", "relu"}},
                                    "gelu");
  reader.Choice("position_embedding_type", {{"absolute", "absolute"}}, "absolute");
  if (config.hidden_size % config.num_attention_heads != 0) {
    reader.Fault("num_attention_heads", config.num_attention_heads,
                 absl::StrFormat("must divide hidden_size = %d", config.hidden_size));
  }
  if (!reader.fault().ok()) return reader.fault();
  return config;
}

absl::StatusOr<ModelFiles> CheckModelDirectory(const std::string& directory) {
  ModelFiles files;
  RUNG_ASSIGN_OR_RETURN(files.config, ReadModelConfig(directory));
  files.weights_path = directory + "/model.safetensors";
  std::error_code ignored;
  if (!fs::exists(files.weights_path, ignored)) return NoWeights(directory);
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> weights,
                        SafetensorsFile::Open(files.weights_path));
  std::map<std::string, const TensorInfo*> by_our_name;
  for (const TensorInfo& tensor : weights->tensors()) {
    const std::string name = OurName(tensor.name);
    if (!IsIgnored(name)) by_our_name.emplace(name, &tensor);
  }
  for (const NeededTensor& needed : NeededTensors(files.config)) {
    const auto found = by_our_name.find(needed.name);
    RUNG_RETURN_IF_ERROR(
        CheckTensor(needed, found == by_our_name.end() ? nullptr : found->second, files.weights_path));
    files.names.emplace_back(needed.name, found->second->name);
    by_our_name.erase(found);
  }
  if (!by_our_name.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : by_our_name) names.push_back(tensor->name);
    const size_t count = names.size();
    names.resize(std::min(count, kNamedTensors));
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0437",
                      absl::StrFormat("the weights hold %d tensors that no BERT encoder has: %s%s", count,
                                      absl::StrJoin(names, ", "), count > kNamedTensors ? ", ..." : ""),
                      files.weights_path, names.front(),
                      "Use the weights of a BERT encoder that belong to this config.json"});
  }
  return files;
}

}  // namespace rung
