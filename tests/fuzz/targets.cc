#include "tests/fuzz/targets.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "base/check.h"
#include "worker/text/charsmap.h"
#include "worker/text/dataset.h"
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
