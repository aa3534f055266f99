#include "worker/text/model_config.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxConfigBytes = 4 << 20;
constexpr int kMaxSize = 1 << 24;  // of a dimension in config.json
constexpr int kMaxLayers = 1000;

const std::map<std::string, ModelFamily>& FamilyNames() {
  static const std::map<std::string, ModelFamily> kNames = {
      {"albert", ModelFamily::kAlbert},         {"bert", ModelFamily::kBert},
      {"camembert", ModelFamily::kRoberta},     {"deberta-v2", ModelFamily::kDebertaV2},
      {"distilbert", ModelFamily::kDistilBert}, {"electra", ModelFamily::kElectra},
      {"roberta", ModelFamily::kRoberta},       {"xlm-roberta", ModelFamily::kRoberta}};
  return kNames;
}

std::string SupportedNames() {
  std::vector<std::string> names;
  for (const auto& [name, family] : FamilyNames()) names.push_back(name);
  return absl::StrJoin(names, ", ");
}

// Reads typed values of config.json and remembers the first fault.
class ConfigReader {
 public:
  ConfigReader(const json& config, const std::string& path) : config_(config), path_(path) {}

  int Size(const char* key, int minimum, std::optional<int> fallback = std::nullopt, int most = kMaxSize) {
    const json value = config_.value(key, json());
    if (value.is_null() && fallback) return *fallback;
    if (!value.is_number_integer() || value < minimum || value > most) {
      Fault(key, value, absl::StrFormat("must be an integer from %d to %d", minimum, most));
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

  bool Flag(const char* key, bool fallback) {
    const json value = config_.value(key, json());
    if (value.is_null()) return fallback;
    if (!value.is_boolean()) Fault(key, value, "must be true or false");
    return value.is_boolean() && value.get<bool>();
  }

  // Names that stand in one string, joined by "|", or in an array of strings.
  std::string Names(const char* key) {
    const json value = config_.value(key, json());
    if (value.is_string()) return value.get<std::string>();
    if (value.is_null()) return "";
    std::vector<std::string> names;
    for (const json& name : value) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
    if (!value.is_array() || names.size() != value.size()) Fault(key, value, "must be names");
    return absl::StrJoin(names, "|");
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

  std::string Activation(const char* key, const std::string& fallback) {
    return Choice(key,
                  {{"gelu", "gelu"},
                   {"gelu_python", "gelu"},
                   {"gelu_new", "gelu_new"},
                   {"gelu_pytorch_tanh", "gelu_new"},
                   {"relu", "relu"},
                   {"silu", "silu"},
                   {"tanh", "tanh"},
                   {"swish", "silu"}},
                  fallback);
  }

  // {"0": name, "1": name, ...} as a list; empty if it is no such object.
  std::vector<std::string> NumberedNames(const char* key) {
    const json value = config_.value(key, json());
    std::vector<std::string> names;
    for (size_t i = 0; value.is_object() && i < value.size(); ++i) {
      const json name = value.value(absl::StrFormat("%d", i), json());
      if (!name.is_string()) return {};
      names.push_back(name.get<std::string>());
    }
    return names;
  }

  void Fault(const char* key, const json& value, const std::string& what) {
    if (!fault_.ok()) return;
    const std::string shown = value.is_null() ? "(missing)" : value.dump();
    fault_ = MakeError(absl::StatusCode::kInvalidArgument,
                       {"E0434", absl::StrFormat("%s = %s %s", key, shown, what), path_, shown,
                        absl::StrFormat("Use the config.json of a supported model (%s)", SupportedNames())});
  }
  const absl::Status& fault() const { return fault_; }

 private:
  const json& config_;
  const std::string& path_;
  absl::Status fault_;
};

// What nearly all families write the same way.
void ReadCommon(ConfigReader& reader, ModelConfig* c, int least_types = 1, int usual_types = 2) {
  c->vocab_size = reader.Size("vocab_size", 1);
  c->hidden_size = reader.Size("hidden_size", 1);
  c->embedding_size = c->hidden_size;
  c->num_hidden_layers = reader.Size("num_hidden_layers", 1, std::nullopt, kMaxLayers);
  c->num_attention_heads = reader.Size("num_attention_heads", 1);
  c->intermediate_size = reader.Size("intermediate_size", 1);
  c->max_position_embeddings = reader.Size("max_position_embeddings", 1);
  c->type_vocab_size = reader.Size("type_vocab_size", least_types, usual_types);
  c->layer_norm_eps = reader.Real("layer_norm_eps", 0, 1, 1e-12);
  c->hidden_dropout_prob = reader.Real("hidden_dropout_prob", 0, 1, 0.1);
  c->attention_probs_dropout_prob = reader.Real("attention_probs_dropout_prob", 0, 1, 0.1);
  c->classifier_dropout = reader.Real("classifier_dropout", 0, 1, c->hidden_dropout_prob);
  c->hidden_act = reader.Activation("hidden_act", "gelu");
  reader.Choice("position_embedding_type", {{"absolute", "absolute"}}, "absolute");
}

void ReadDistilBert(ConfigReader& reader, ModelConfig* c) {
  c->vocab_size = reader.Size("vocab_size", 1);
  c->hidden_size = reader.Size("dim", 1, 768);
  c->embedding_size = c->hidden_size;
  c->num_hidden_layers = reader.Size("n_layers", 1, 6, kMaxLayers);
  c->num_attention_heads = reader.Size("n_heads", 1, 12);
  c->intermediate_size = reader.Size("hidden_dim", 1, 3072);
  c->max_position_embeddings = reader.Size("max_position_embeddings", 1, 512);
  c->type_vocab_size = 0;
  c->layer_norm_eps = 1e-12;
  c->hidden_dropout_prob = reader.Real("dropout", 0, 1, 0.1);
  c->attention_probs_dropout_prob = reader.Real("attention_dropout", 0, 1, 0.1);
  c->classifier_dropout = reader.Real("seq_classif_dropout", 0, 1, 0.2);
  c->hidden_act = reader.Activation("activation", "gelu");
}

void ReadAlbert(ConfigReader& reader, ModelConfig* c) {
  ReadCommon(reader, c);
  c->embedding_size = reader.Size("embedding_size", 1, 128);
  c->hidden_dropout_prob = reader.Real("hidden_dropout_prob", 0, 1, 0);
  c->attention_probs_dropout_prob = reader.Real("attention_probs_dropout_prob", 0, 1, 0);
  c->classifier_dropout = reader.Real("classifier_dropout_prob", 0, 1, 0.1);
  c->hidden_act = reader.Activation("hidden_act", "gelu_new");
  c->num_hidden_groups = reader.Size("num_hidden_groups", 1, 1, c->num_hidden_layers);
  c->inner_group_num = reader.Size("inner_group_num", 1, 1, kMaxLayers / c->num_hidden_layers);
}

void ReadDeberta(const json& file, ConfigReader& reader, ModelConfig* c) {
  ReadCommon(reader, c, 0, 0);
  c->layer_norm_eps = reader.Real("layer_norm_eps", 0, 1, 1e-7);
  c->classifier_dropout = reader.Real("cls_dropout", 0, 1, c->hidden_dropout_prob);
  c->position_table = reader.Flag("position_biased_input", true);
  c->relative_attention = reader.Flag("relative_attention", false);
  const std::string attention = reader.Names("pos_att_type");
  c->content_to_position = c->relative_attention && absl::StrContains(attention, "c2p");
  c->position_to_content = c->relative_attention && absl::StrContains(attention, "p2c");
  c->share_attention_key = reader.Flag("share_att_key", false);
  c->normalize_relative = absl::StrContains(reader.Names("norm_rel_ebd"), "layer_norm");
  c->position_buckets = std::max(0, reader.Size("position_buckets", -1, -1));
  c->max_relative_positions = reader.Size("max_relative_positions", -1, -1);
  if (c->max_relative_positions < 1) c->max_relative_positions = c->max_position_embeddings;
  c->pooler_dropout = reader.Real("pooler_dropout", 0, 1, 0);
  c->pooler_act = reader.Activation("pooler_hidden_act", "gelu");
  for (const char* key : {"embedding_size", "pooler_hidden_size"}) {
    const json value = file.value(key, json());
    if (!value.is_null() && value != c->hidden_size) reader.Fault(key, value, "must be hidden_size");
  }
  if (reader.Size("conv_kernel_size", 0, 0) > 0)
    reader.Fault("conv_kernel_size", file["conv_kernel_size"],
                 "is not supported: convolutions are not computed");
}

// As Hugging Face does: without a word on it, one output is a number.
Task TaskOfHead(const json& file, const std::vector<std::string>& labels) {
  const json type = file.value("problem_type", json());
  for (const Task task : {Task::kMultiLabel, Task::kRegression}) {
    if (type == ProblemType(task)) return task;
  }
  return labels.size() == 1 && type.is_null() ? Task::kRegression : Task::kSingleLabel;
}

}  // namespace

int ModelConfig::MaxTokens() const {
  return family == ModelFamily::kRoberta ? max_position_embeddings - pad_token_id - 1
                                         : max_position_embeddings;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  absl::StatusOr<std::string> text = ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) {
    if (text.status().code() != absl::StatusCode::kNotFound) return text.status();
    std::error_code unknown;
    const bool there = std::filesystem::exists(directory, unknown);
    return MakeError(
        absl::StatusCode::kNotFound,
        {"E0433",
         there ? "the model directory has no config.json" : "there is no model directory " + directory,
         directory, directory, "Give the directory that holds config.json and model.safetensors"});
  }
  const json file = ParseJson(*text);
  if (file.is_discarded() || !file.is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument, {"E0434", "config.json is not a JSON object", path,
                                                          "", "Use the config.json of the published model"});
  }
  ConfigReader reader(file, path);
  ModelConfig config;
  const json type = file.value("model_type", json());
  const auto family = type.is_string() ? FamilyNames().find(type.get<std::string>()) : FamilyNames().end();
  if (family == FamilyNames().end()) {
    const char* fault = type.is_null() ? "names no family" : "is not supported";
    reader.Fault("model_type", type, absl::StrFormat("%s; supported are %s", fault, SupportedNames()));
    return reader.fault();
  }
  config.family = family->second;
  switch (config.family) {
    case ModelFamily::kBert:
    case ModelFamily::kRoberta:
    case ModelFamily::kElectra:
      ReadCommon(reader, &config);
      break;
    case ModelFamily::kDistilBert:
      ReadDistilBert(reader, &config);
      break;
    case ModelFamily::kAlbert:
      ReadAlbert(reader, &config);
      break;
    case ModelFamily::kDebertaV2:
      ReadDeberta(file, reader, &config);
      break;
  }
  if (config.family == ModelFamily::kElectra)
    config.embedding_size = reader.Size("embedding_size", 1, config.hidden_size);
  config.pad_token_id = reader.Size("pad_token_id", 0, config.family == ModelFamily::kRoberta ? 1 : 0);
  config.initializer_range = reader.Real("initializer_range", 0, 10, 0.02);
  config.labels = reader.NumberedNames("id2label");
  config.task = TaskOfHead(file, config.labels);
  if (config.hidden_size % config.num_attention_heads != 0) {
    reader.Fault("num_attention_heads", config.num_attention_heads,
                 absl::StrFormat("must divide hidden_size = %d", config.hidden_size));
  }
  if (config.MaxTokens() < 1) {
    reader.Fault("max_position_embeddings", config.max_position_embeddings,
                 absl::StrFormat("must be more than pad_token_id + 1 = %d", config.pad_token_id + 1));
  }
  if (!reader.fault().ok()) return reader.fault();
  return config;
}

}  // namespace rung
