// Files for the tests of worker/text: a directory that is removed at the end, and tiny model directories in
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "base/status.h"
#include "tests/scratch.h"

namespace rung {

class TemporaryDirectory {
 public:
  const std::string& path() const { return scratch_.root(); }
  std::string Write(const std::string& name, const std::string& bytes) const {
    const std::string path = scratch_.path(name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

 private:
  const Scratch scratch_;
};

inline std::string CodeOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail ? detail->code : status.ok() ? "ok" : "no detail";
}

inline std::string WhereOf(const absl::Status& status) {
  const auto detail = GetErrorDetail(status);
  return detail ? detail->where : "";
}

// length, header, data.
inline std::string Safetensors(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  return bytes + header + data;
}

using NamedShapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

// A valid file with float zeros.
inline std::string SafetensorsOf(const NamedShapes& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  size_t offset = 0;
  for (const auto& [name, shape] : tensors) {
    size_t bytes = 4;
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  return Safetensors(header.dump(), std::string(offset, '\0'));
}

inline nlohmann::json TinyConfig() {
  return {{"model_type", "bert"},          {"vocab_size", 12},         {"hidden_size", 4},
          {"num_hidden_layers", 1},        {"num_attention_heads", 2}, {"intermediate_size", 6},
          {"max_position_embeddings", 16}, {"type_vocab_size", 2},     {"layer_norm_eps", 1e-5}};
}

inline NamedShapes TinyWeights() {
  const std::string layer = "encoder.layer.0.";
  return {{"embeddings.word_embeddings.weight", {12, 4}},
          {"embeddings.position_embeddings.weight", {16, 4}},
          {"embeddings.token_type_embeddings.weight", {2, 4}},
          {"embeddings.LayerNorm.weight", {4}},
          {"embeddings.LayerNorm.bias", {4}},
          {layer + "attention.self.query.weight", {4, 4}},
          {layer + "attention.self.query.bias", {4}},
          {layer + "attention.self.key.weight", {4, 4}},
          {layer + "attention.self.key.bias", {4}},
          {layer + "attention.self.value.weight", {4, 4}},
          {layer + "attention.self.value.bias", {4}},
          {layer + "attention.output.dense.weight", {4, 4}},
          {layer + "attention.output.dense.bias", {4}},
          {layer + "attention.output.LayerNorm.weight", {4}},
          {layer + "attention.output.LayerNorm.bias", {4}},
          {layer + "intermediate.dense.weight", {6, 4}},
          {layer + "intermediate.dense.bias", {6}},
          {layer + "output.dense.weight", {4, 6}},
          {layer + "output.dense.bias", {4}},
          {layer + "output.LayerNorm.weight", {4}},
          {layer + "output.LayerNorm.bias", {4}},
          {"pooler.dense.weight", {4, 4}},
          {"pooler.dense.bias", {4}}};
}

inline const char* const kTinyVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##ly\n,\n.\nfree\nmoney\n";

// A model directory that passes every check; its path.
inline std::string WriteTinyModel(const TemporaryDirectory& directory, const std::string& name) {
  directory.Write(name + "/config.json", TinyConfig().dump());
  directory.Write(name + "/model.safetensors", SafetensorsOf(TinyWeights()));
  directory.Write(name + "/vocab.txt", kTinyVocabulary);
  return directory.path() + "/" + name;
}

}  // namespace rung
