#include "tests/fuzz/targets.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "worker/text/charsmap.h"
#include "worker/text/dataset.h"
#include "worker/text/model_config.h"
#include "worker/text/model_tensors.h"
#include "worker/text/tokenizer.h"
#include "worker/text/tokenizer_json.h"
#include "worker/text/weight_files.h"

namespace rung {
namespace {

constexpr char kText[] =
    "Hello  w\u00f6rld, <mask> [SEP] it's 12\u00bd \u0301\u4e2d\U0001F468\u200D\U0001F469 \t\n``x''";

// Every tensor's bytes must lie in the file.
void ReadAll(std::string_view bytes, const absl::StatusOr<std::vector<TensorInfo>>& tensors) {
  if (!tensors.ok()) return;
  for (const TensorInfo& tensor : *tensors) {
    RUNG_CHECK(tensor.begin >= 0 && tensor.begin <= tensor.end, "a tensor has a range");
    RUNG_CHECK(static_cast<size_t>(tensor.end) <= bytes.size(), "a tensor lies in its file");
  }
}

// A directory in memory, gone at the end.
class FuzzedDirectory {
 public:
  FuzzedDirectory() : path_("/dev/shm/rung-fuzz-" + std::to_string(getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~FuzzedDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzedDirectory(const FuzzedDirectory&) = delete;
  FuzzedDirectory& operator=(const FuzzedDirectory&) = delete;
  void Write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// A safetensors file of one float for each letter of `names`.
std::string Shard(const std::string& names) {
  std::string header, data(names.size() * 4, '\0');
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "{\"" : ",\"") + names.substr(i, 1) +
              "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" + std::to_string(4 * i) + "," +
              std::to_string(4 * i + 4) + "]}";
  }
  header += "}";
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size() & 0xFF);
  length[1] = static_cast<char>(header.size() >> 8);
  return length + header + data;
}

}  // namespace

void FuzzSafetensors(std::string_view bytes) {
  ReadAll(bytes, ParseSafetensors(bytes, "fuzzed"));
}

void FuzzTorchFile(std::string_view bytes) {
  ReadAll(bytes, ParseTorchFile(bytes, "fuzzed"));
}

void FuzzTokenizer(std::string_view bytes) {
  absl::StatusOr<TokenizerParts> parts = ParseTokenizerJson(std::string(bytes), "fuzzed");
  if (!parts.ok()) return;
  const PipelineTokenizer tokenizer(*std::move(parts));
  const std::vector<int32_t> ids = tokenizer.Encode(kText);
  for (const int32_t id : ids) RUNG_CHECK(id < tokenizer.vocabulary_size(), "an id is one of the vocabulary");
}

void FuzzCharsmap(std::string_view bytes) {
  const absl::StatusOr<Charsmap> map = Charsmap::Parse(bytes);
  if (map.ok()) map->Apply(kText);
}

void FuzzModelConfig(std::string_view bytes) {
  const FuzzedDirectory directory;
  directory.Write("config.json", bytes);
  const absl::StatusOr<ModelConfig> config = ReadModelConfig(directory.path());
  if (!config.ok()) return;
  RUNG_CHECK(config->MaxTokens() > 0, "a model reads at least a token");
  RUNG_CHECK(config->hidden_size % config->num_attention_heads == 0, "heads share a layer's width");
  const std::vector<ModelTensor> tensors = EncoderTensors(*config);
  RUNG_CHECK(tensors.front().name == WordTableName(), "the word table comes first");
  for (const ModelTensor& tensor : tensors) {
    for (const int64_t extent : tensor.shape) RUNG_CHECK(extent > 0, "a tensor has an extent");
  }
}

void FuzzShardIndex(std::string_view bytes) {
  const FuzzedDirectory directory;
  directory.Write("a.safetensors", Shard("a"));
  directory.Write("b.safetensors", Shard("bc"));
  directory.Write("model.safetensors.index.json", bytes);
  const absl::StatusOr<std::unique_ptr<WeightFiles>> files = WeightFiles::Open(directory.path());
  if (!files.ok()) return;
  for (const TensorInfo& tensor : (*files)->tensors()) {
    RUNG_CHECK((*files)->Find(tensor.name) != nullptr, "a tensor is found by its name");
    RUNG_CHECK(*(*files)->data(tensor) == 0, "its bytes lie in its shard");
  }
}

void FuzzVocabulary(std::string_view bytes) {
  const FuzzedDirectory directory;
  if (!bytes.empty() && bytes[0] == 'J') {
    bytes.remove_prefix(1);
    const size_t end = bytes.find("\n\n");
    directory.Write("vocab.json", bytes.substr(0, end));
    directory.Write("merges.txt", end == std::string_view::npos ? "" : bytes.substr(end + 2));
  } else {
    directory.Write("vocab.txt", bytes);
  }
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(directory.path());
  if (!tokenizer.ok()) return;
  constexpr int kMaxTokens = 16;
  std::vector<int32_t> types;
  const std::vector<int32_t> ids = (*tokenizer)->EncodeForModel(kText, kText, kMaxTokens, &types);
  RUNG_CHECK(ids.size() <= size_t{kMaxTokens} && types.size() == ids.size(), "a pair is truncated");
  for (const int32_t id : ids)
    RUNG_CHECK(id >= 0 && id < (*tokenizer)->vocabulary_size(), "an id is one of the vocabulary");
}

void FuzzDataset(std::string_view bytes) {
  const bool json_lines = !bytes.empty() && bytes[0] == 'J';
  const std::string path =
      "/dev/shm/rung-fuzz-" + std::to_string(getpid()) + (json_lines ? ".jsonl" : ".csv");
  if (json_lines) bytes.remove_prefix(1);
  std::ofstream(path, std::ios::binary) << bytes;
  const absl::StatusOr<Dataset> dataset = LoadDataset(path, {{"text", "pair"}, {"label"}}, std::nullopt);
  if (dataset.ok() && dataset->examples.size() > 2) {
    const Split split = SplitShare(*dataset, 0.5, 1);
    RUNG_CHECK(split.train.size() + split.validation.size() == dataset->examples.size(), "no row is lost");
  }
  std::remove(path.c_str());
}

}  // namespace rung
