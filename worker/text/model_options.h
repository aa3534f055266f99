// How a classifier differs from the plain fine-tuning of a whole encoder: its head, what is frozen, adapters.
// Values.
#pragma once

#include <string>
#include <vector>

#include "worker/text/model_config.h"
#include "worker/text/model_tensors.h"
#include "worker/text/task.h"

namespace rung {

enum class HeadType { kDefault, kFullyConnected, kAttention };
enum class HeadPool { kFirstToken, kMean, kMax };
enum class PeftMethod { kNone, kLora };

// To what the operands of the large matrix products are rounded; their sums, and all else, are float32.
// kAuto: bfloat16 on CPUs that multiply it, TF32 on GPUs that do. kBFloat16: on both where they have it.
enum class Precision { kAuto, kFloat32, kBFloat16 };

struct HeadOptions {
  HeadType type = HeadType::kDefault;
  // Fully connected: pool, then for each width linear, activation and dropout, then a linear layer to the
  // labels.
  int layers = 2;
  int size = 0;  // of the layers between; 0: the encoder's hidden size
  HeadPool pool = HeadPool::kFirstToken;
  std::string activation = "relu";  // relu | gelu | tanh
  // Attention: linear to dim, self-attention over the tokens, mean over the tokens, linear to the labels.
  int dim = 128;
  int heads = 1;
  double dropout = 0.3;         // of both
  std::vector<int> sizes = {};  // fully connected: each width, in the place of layers and size
  // Both: of how many of the last layers the outputs are read. Where it is more than one, each token's are
  // summed with the softmax over the layers of their products with a learnt vector, by sqrt(hidden size).
  int last_layers = 1;

  // Of the fully connected layers below the one to the labels.
  std::vector<int> Widths(int hidden_size) const;
};

// W x + scale B A dropout(x), W frozen (Hu et al. 2021); scale alpha / r, rank-stabilised alpha / sqrt(r)
// (Kalajdzievski 2023). The head is trained in full.
struct LoraOptions {
  int r = 8;
  double alpha = 16;
  double dropout = 0;
  std::vector<std::string> targets = {"query", "value"};  // of LinearParts()
  bool rank_stabilised = false;
  double Scale() const;
};

struct ModelOptions {
  Task task = Task::kSingleLabel;  // decides the loss
  double dropout = -1;             // of the encoder; < 0: the rates of config.json
  HeadOptions head;
  int frozen_layers = 0;  // the lowest
  bool frozen_embeddings = false;
  PeftMethod peft = PeftMethod::kNone;
  LoraOptions lora;
  Precision precision = Precision::kFloat32;
};

// A tensor of the whole classifier.
struct ClassifierTensor {
  ModelTensor tensor;
  std::string stored;  // its name in a checkpoint: Hugging Face's where Hugging Face has such a tensor
  bool trained = true;
  bool is_new = false;  // not part of a pre-trained checkpoint
};

// Encoder, head and adapters of a classifier, in the order in which they lie in memory.
std::vector<ClassifierTensor> ClassifierTensors(const ModelConfig& config, const ModelOptions& options,
                                                int labels);

// "lora." + the plain name of a weight's layer + ".A" or ".B".
std::string LoraName(const std::string& layer, char matrix);

// Layers that run one after another; ALBERT's count those inside groups.
int LayerCount(const ModelConfig& config);

// Weights that training changes.
int64_t TrainedWeights(const std::vector<ClassifierTensor>& tensors);

// The lowest layer with something to train, -1 for the embeddings, num_hidden_layers (x inner_group_num) if
// only what stands above them is trained.
int LowestTrainedLayer(const ModelConfig& config, const ModelOptions& options);

}  // namespace rung
