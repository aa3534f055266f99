// What turns tokens into hidden states, one class for each kind of architecture. Dropout rates are those of
// its config. One thread; throws what torch throws.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "worker/model/packed_batch.h"
#include "worker/model/parameters.h"
#include "worker/model/pass.h"
#include "worker/text/model_config.h"

namespace rung {

class Encoder {
 public:
  virtual ~Encoder() = default;
  // The last layer's output: (sum L, hidden), or (n, hidden) of the first tokens alone, which is the same to
  // rounding and saves most of that layer.
  virtual torch::Tensor Forward(Pass& pass, RowsRead rows) const = 0;
  // What each token looks up in the table of positions: (sum L).
  virtual std::vector<int64_t> Positions(const PackedBatch& batch) const { return batch.positions; }
};

// The weights live in `parameters`, which must hold EncoderTensors(config) and live longer. bert.cc: BERT,
// RoBERTa, ELECTRA; distilbert.cc, albert.cc, deberta.cc.
std::unique_ptr<Encoder> MakeEncoder(const ModelConfig& config, Parameters& parameters);
std::unique_ptr<Encoder> MakeBert(const ModelConfig& config, Parameters& parameters);
std::unique_ptr<Encoder> MakeDistilBert(const ModelConfig& config, Parameters& parameters);
std::unique_ptr<Encoder> MakeAlbert(const ModelConfig& config, Parameters& parameters);
std::unique_ptr<Encoder> MakeDeberta(const ModelConfig& config, Parameters& parameters);

}  // namespace rung
