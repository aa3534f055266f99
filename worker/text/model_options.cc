#include "worker/text/model_options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace rung {
namespace {

void AddLinear(const std::string& name, int64_t out, int64_t in, std::vector<ModelTensor>* tensors) {
  tensors->push_back({name + ".weight", {out, in}, TensorKind::kMatrix, false, kAboveLayers});
  tensors->push_back({name + ".bias", {out}, TensorKind::kVector, false, kAboveLayers});
}

std::vector<ModelTensor> NewHead(const ModelConfig& config, const HeadOptions& head, int labels) {
  std::vector<ModelTensor> tensors;
  int64_t width = config.hidden_size;
  if (head.type != HeadType::kDefault && head.last_layers > 1)
    tensors.push_back({"head.layer_query.weight", {1, width}, TensorKind::kMatrix, false, kAboveLayers});
  switch (head.type) {
    case HeadType::kDefault:
      return HeadTensors(config, labels);
    case HeadType::kFullyConnected: {
      const std::vector<int> widths = head.Widths(config.hidden_size);
      for (size_t i = 0; i < widths.size(); ++i) {
        AddLinear(absl::StrCat("head.fc.", i), widths[i], width, &tensors);
        width = widths[i];
      }
      break;
    }
    case HeadType::kAttention:
      AddLinear("head.projection", head.dim, width, &tensors);
      width = head.dim;
      for (const char* part : {"query", "key", "value"}) {
        tensors.push_back({absl::StrCat("head.", part, ".weight"),
                           {width, width},
                           TensorKind::kMatrix,
                           *part != 'v',
                           kAboveLayers});
      }
      for (const char* part : {"query", "key", "value"}) {
        tensors.push_back(
            {absl::StrCat("head.", part, ".bias"), {width}, TensorKind::kVector, *part != 'v', kAboveLayers});
      }
      AddLinear("head.output", width, width, &tensors);
      break;
  }
  AddLinear("head.linear", labels, width, &tensors);
  return tensors;
}

bool IsTrained(const ModelTensor& tensor, const ModelOptions& options) {
  if (options.peft == PeftMethod::kLora) return false;
  // A head of another kind does not read what the family's own would.
  if (tensor.layer == kAboveLayers) return options.head.type == HeadType::kDefault;
  if (tensor.layer == kEmbeddingLayer) return !options.frozen_embeddings;
  return tensor.layer >= options.frozen_layers;
}

std::vector<ModelTensor> LoraTensors(const ModelConfig& config, const LoraOptions& lora,
                                     const std::vector<ModelTensor>& encoder) {
  std::vector<ModelTensor> tensors;
  for (int layer = 0; layer < LayerCount(config); ++layer) {
    for (const std::string& part : LinearParts()) {
      if (std::find(lora.targets.begin(), lora.targets.end(), part) == lora.targets.end()) continue;
      const std::string name = LinearPartName(config, layer, part);
      const std::string a = LoraName(name, 'A');
      const auto same = [&](const ModelTensor& tensor) { return tensor.name == a; };
      if (std::any_of(tensors.begin(), tensors.end(), same)) continue;  // layers that share weights
      const auto base = std::find_if(encoder.begin(), encoder.end(), [&](const ModelTensor& tensor) {
        return tensor.name == name + ".weight";
      });
      tensors.push_back({a, {lora.r, base->shape[1]}, TensorKind::kMatrix, false, layer});
      tensors.push_back({LoraName(name, 'B'), {base->shape[0], lora.r}, TensorKind::kMatrix, false, layer});
    }
  }
  return tensors;
}

}  // namespace

std::vector<int> HeadOptions::Widths(int hidden_size) const {
  if (!sizes.empty()) return sizes;
  return std::vector<int>(static_cast<size_t>(layers - 1), size > 0 ? size : hidden_size);
}

int LayerCount(const ModelConfig& config) {
  return config.num_hidden_layers * (config.family == ModelFamily::kAlbert ? config.inner_group_num : 1);
}

double LoraOptions::Scale() const {
  return alpha / (rank_stabilised ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r));
}

std::string LoraName(const std::string& layer, char matrix) {
  return absl::StrFormat("lora.%s.%c", layer, matrix);
}

std::vector<ClassifierTensor> ClassifierTensors(const ModelConfig& config, const ModelOptions& options,
                                                int labels) {
  std::vector<ClassifierTensor> all;
  const std::vector<ModelTensor> encoder = EncoderTensors(config);
  for (const ModelTensor& tensor : encoder)
    all.push_back({tensor, FamilyPrefix(config.family) + tensor.name, IsTrained(tensor, options), false});
  for (const ModelTensor& tensor : NewHead(config, options.head, labels))
    all.push_back({tensor, tensor.name, true, true});
  if (options.peft == PeftMethod::kLora) {
    for (const ModelTensor& tensor : LoraTensors(config, options.lora, encoder))
      all.push_back({tensor, tensor.name, true, true});
  }
  return all;
}

int64_t TrainedWeights(const std::vector<ClassifierTensor>& tensors) {
  int64_t total = 0;
  for (const ClassifierTensor& entry : tensors) {
    int64_t size = 1;
    for (const int64_t extent : entry.tensor.shape) size *= extent;
    if (entry.trained) total += size;
  }
  return total;
}

int LowestTrainedLayer(const ModelConfig& config, const ModelOptions& options) {
  int lowest = LayerCount(config);
  for (const ClassifierTensor& entry : ClassifierTensors(config, options, 2)) {
    if (entry.trained && entry.tensor.layer < kAboveLayers) lowest = std::min(lowest, entry.tensor.layer);
  }
  // A group of ALBERT's layers is told by its last; its first is where gradients begin.
  if (config.family == ModelFamily::kAlbert && lowest > 0 && lowest < LayerCount(config)) {
    const int group =
        AlbertGroup(config, options.peft == PeftMethod::kLora ? lowest / config.inner_group_num : lowest);
    lowest = 0;
    while (AlbertGroup(config, lowest) != group) ++lowest;
    lowest *= config.inner_group_num;
  }
  return lowest;
}

}  // namespace rung
