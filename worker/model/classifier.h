// An encoder with a classification head (its loss by ModelOptions::task: softmax and cross entropy; sigmoid
// and binary cross entropy, the mean over a row's labels; squared error), by default the one that Hugging
// Face's AutoModelForSequenceClassification builds for the family: what the checkpoint has of it is the
// checkpoint's own, the rest is new. Free of torch headers. One thread. Functions that compute throw what
// torch throws; callers go through CatchTorch (worker/training/torch_errors.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/packed_batch.h"
#include "worker/text/model_directory.h"
#include "worker/text/model_options.h"
#include "worker/text/weight_files.h"

namespace rung {

class Parameters;

// The floats of a tensor: its own, or a view of a mapped file, which it keeps mapped. Copies share them.
class BaseTensor {
 public:
  BaseTensor(std::vector<float> values) {
    const auto own = std::make_shared<const std::vector<float>>(std::move(values));
    values_ = *own;
    owner_ = own;
  }
  BaseTensor(std::shared_ptr<const WeightFiles> files, std::span<const float> view)
      : owner_(std::move(files)), values_(view) {}
  std::span<const float> values() const { return values_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const float> values_;
};

// The weights of an encoder, with or without its classification head, as they lie in a model directory, in
// float32.
struct BaseWeights {
  ModelConfig config;
  std::vector<std::pair<std::string, BaseTensor>> tensors;  // our names (model_directory.h)
};
// Errors: those of CheckModelDirectory; InvalidArgument (E0439: a dtype that cannot be read).
absl::StatusOr<BaseWeights> LoadBaseWeights(const std::string& directory,
                                            ModelPart part = ModelPart::kEncoder);

// Where in training a micro-batch stands; with the site of a layer it keys the dropout masks.
struct StepKey {
  uint64_t seed = 0;
  int64_t update = 0;
  int64_t micro_batch = 0;
};

struct BatchOutcome {
  double loss_sum = 0;        // of the sequences' weighted losses, as the task has them
  std::vector<float> logits;  // (n, labels), in the batch's order
};

class Classifier {
 public:
  // What `base` has not of the head is drawn from N(0, initializer_range) by the seed alone.
  Classifier(const BaseWeights& base, int labels, uint64_t seed, const ModelOptions& options);
  // With the family's head, nothing frozen. dropout < 0: the rates of config.json.
  Classifier(const BaseWeights& base, int labels, uint64_t seed, double dropout);
  ~Classifier();

  // Adds the gradients of loss_sum * scale. The update's first micro-batch begins new gradients.
  BatchOutcome Train(const PackedBatch& batch, const StepKey& key, double scale);
  // Dropout off; draws no random number.
  BatchOutcome Evaluate(const PackedBatch& batch);
  // The last layer's hidden states of all tokens, (sum L, hidden), dropout off.
  std::vector<float> HiddenStates(const PackedBatch& batch);

  // Adds the adapters to the weights they stand beside and takes them out of use. For export.
  void MergeAdapters();

  Parameters& parameters();
  int labels() const { return labels_; }
  Task task() const { return options_.task; }
  // "cpu" or the GPU's name.
  std::string device_name() const;
  // "fp32", "bf16" or "tf32": of the operands of large products, on this machine.
  std::string precision_name() const;

 private:
  struct Model;
  const ModelConfig config_;
  const ModelOptions options_;
  const int labels_;
  const int trained_from_;
  std::unique_ptr<Model> model_;
};

}  // namespace rung
