// A Hugging Face model directory read without torch: config.json, and the names, shapes and bytes of its
// weights. Thread-safe after loading.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/model_config.h"
#include "worker/text/weight_files.h"

namespace rung {

// Where Hugging Face's own client keeps what is its own: $HF_HOME, else huggingface/ in $XDG_CACHE_HOME or
// ~/.cache.
std::string HubHome();
// Its local cache of models: $HF_HUB_CACHE, else hub/ in HubHome().
std::string HubCache();
// What is kept there of "org/name" or "name": models--org--name.
std::string HubFolder(const std::string& name);

// Where a model named in a study is: an absolute path; a path relative to base_directory that holds
// config.json; else in HubFolder(name) of HubCache() the snapshot that refs/main names, else the newest.
// Errors: NotFound (E0432: names the places that were looked at).
absl::StatusOr<std::string> ResolveModel(const std::string& name, const std::string& base_directory);

// Checks, without reading the weights' bytes, that every tensor the encoder needs is there with its shape and
// that no unknown one is (model_tensors.h). Returns the mapping: plain name ("embeddings...",
// "encoder.layer.0...") -> tensor name in the file. Errors: InvalidArgument
// (E0435: missing names, and unexpected ones, listed; E0437: unexpected ones alone; E0436 shape: expected and
// found), NotFound (E0438: no weights).
struct ModelFiles {
  ModelConfig config;
  std::vector<std::string> weights_paths;  // the index of shards first, where there is one
  std::vector<std::pair<std::string, std::string>> names;
};
// With a head the classification head of config.labels must be there too; it gets names of its own.
enum class ModelPart { kEncoder, kWithHead };
absl::StatusOr<ModelFiles> CheckModelDirectory(const std::string& directory,
                                               ModelPart part = ModelPart::kEncoder);

}  // namespace rung
