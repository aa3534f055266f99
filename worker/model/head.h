// What turns hidden states into logits. One thread; throws what torch throws.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "worker/model/parameters.h"
#include "worker/model/pass.h"
#include "worker/text/model_options.h"

namespace rung {

class Head {
 public:
  virtual ~Head() = default;
  virtual RowsRead rows_read() const = 0;
  virtual int layers_read() const { return 1; }
  // hidden: the rows of the last layer that rows_read() says; layers before it are pass.kept_layers(). ->
  // (n, labels)
  virtual torch::Tensor Logits(const torch::Tensor& hidden, Pass& pass) const = 0;
};

// The head that the options name; by default the one that Hugging Face gives the family. The weights live in
// `parameters`, which must hold ClassifierTensors(config, options, labels).
std::unique_ptr<Head> MakeHead(const ModelConfig& config, const HeadOptions& options, Parameters& parameters);

}  // namespace rung
