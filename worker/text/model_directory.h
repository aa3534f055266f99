// A Hugging Face model directory read without torch: config.json, and the names, shapes and bytes of its
// weights. Thread-safe after loading.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/weight_files.h"

namespace rung {

enum class ModelFamily { kBert };

// config.json of an encoder; names as in Hugging Face.
struct ModelConfig {
  ModelFamily family = ModelFamily::kBert;
  int vocab_size = 0;
  int hidden_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int intermediate_size = 0;
  int max_position_embeddings = 0;
  int type_vocab_size = 0;
  int pad_token_id = 0;
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = 0.1;  // hidden_dropout_prob where the file has null
  double initializer_range = 0.02;
  std::string hidden_act = "gelu";  // gelu (erf) | gelu_new | relu
};

// Where a model named in a study is: an absolute path; a path relative to base_directory that holds
// config.json; else the newest snapshot of "org/name" or "name" in the local Hub cache ($HF_HOME or
// ~/.cache/huggingface, hub/models--org--name/snapshots/*). Errors: NotFound (E0432: names the places that
// were looked at).
absl::StatusOr<std::string> ResolveModel(const std::string& name, const std::string& base_directory);

// Errors: NotFound (E0433: no config.json), InvalidArgument (E0434: key and value; an unsupported model_type
// is named).
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

// Checks, without reading the weights' bytes, that every tensor the encoder needs is there with its shape and
// that no unknown one is (allow-list: position_ids, cls.*, classifier.*, pooler.* absent is an error for
// BERT). gamma/beta = weight/bias; an optional "bert." prefix. Returns the mapping: our name (with
// "embeddings...", "encoder.layer.0...", "pooler...") -> tensor name in the file. Errors: InvalidArgument
// (E0435 missing, E0436 shape: expected and found, E0437 unexpected names listed), NotFound (E0438: no
// weights).
struct ModelFiles {
  ModelConfig config;
  std::string weights_path;
  std::vector<std::pair<std::string, std::string>> names;
};
absl::StatusOr<ModelFiles> CheckModelDirectory(const std::string& directory);

}  // namespace rung
