// What turns hidden states into logits. One thread; throws what torch throws.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "worker/model/parameters.h"
#include "worker/model/pass.h"
#include "worker/text/model_config.h"

namespace rung {

class Head {
 public:
  virtual ~Head() = default;
  virtual RowsRead rows_read() const = 0;
  // hidden: the rows that rows_read() says. -> (n, labels)
  virtual torch::Tensor Logits(const torch::Tensor& hidden, Pass& pass) const = 0;
};

// The sequence-classification head that Hugging Face gives the family. The weights live in `parameters`,
// which must hold EncoderTensors(config) and HeadTensors(config, labels).
std::unique_ptr<Head> MakeFamilyHead(const ModelConfig& config, Parameters& parameters);

}  // namespace rung
