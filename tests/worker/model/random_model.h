// Random weights for a small encoder of any family, and a ragged batch.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "worker/model/classifier.h"
#include "worker/model/counter_random.h"
#include "worker/text/model_tensors.h"

namespace rung {

inline constexpr int kVocabulary = 50, kWidth = 24;

inline ModelConfig SmallConfig(ModelFamily family = ModelFamily::kBert) {
  ModelConfig config;
  config.family = family;
  config.vocab_size = kVocabulary;
  config.embedding_size = config.hidden_size = kWidth;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.intermediate_size = 40;
  config.max_position_embeddings = 64;
  config.type_vocab_size = family == ModelFamily::kDistilBert || family == ModelFamily::kDebertaV2 ? 0 : 2;
  if (family == ModelFamily::kElectra || family == ModelFamily::kAlbert) config.embedding_size = 16;
  if (family == ModelFamily::kDebertaV2) {
    config.position_table = false;
    config.relative_attention = config.content_to_position = config.position_to_content = true;
    config.share_attention_key = config.normalize_relative = true;
    config.position_buckets = 8;
    config.max_relative_positions = 64;
  }
  return config;
}

inline BaseWeights RandomBase(uint64_t seed, const ModelConfig& config) {
  BaseWeights base;
  base.config = config;
  CounterRandom random(seed);
  for (const ModelTensor& tensor : EncoderTensors(config)) {
    int64_t size = 1;
    for (const int64_t extent : tensor.shape) size *= extent;
    const bool gamma = tensor.kind == TensorKind::kVector && tensor.name.ends_with(".weight");
    std::vector<float> values(static_cast<size_t>(size));
    for (float& value : values) value = static_cast<float>((gamma ? 1 : 0) + 0.3 * random.Normal());
    base.tensors.emplace_back(tensor.name, std::move(values));
  }
  return base;
}

inline BaseWeights RandomBase(uint64_t seed, const std::string& activation = "gelu") {
  ModelConfig config = SmallConfig();
  config.hidden_act = activation;
  return RandomBase(seed, config);
}

inline std::vector<EncodedExample> Examples() {
  CounterRandom random(3);
  std::vector<EncodedExample> examples;
  for (const int length : {4, 9, 4, 17, 9, 1, 17}) {
    EncodedExample example;
    for (int i = 0; i < length; ++i) {
      example.ids.push_back(static_cast<int32_t>(random.Below(kVocabulary)));
      example.token_types.push_back(i * 2 > length);
    }
    example.label = static_cast<int>(random.Below(3));
    examples.push_back(example);
  }
  return examples;
}

inline PackedBatch BatchOf(const std::vector<EncodedExample>& examples) {
  std::vector<int> rows(examples.size());
  std::iota(rows.begin(), rows.end(), 0);
  return PackBatch(examples, rows);
}

}  // namespace rung
