// A model and its optimiser as named tensors of a checkpoint, and back. Free of torch headers. One thread;
// may throw what torch throws.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/training/checkpoint.h"
#include "worker/training/optimizer.h"

namespace rung {

class Parameters;

// Holds the copies that its tensors point into.
class Snapshot {
 public:
  // updater may be null: the model alone.
  Snapshot(Parameters& parameters, const WeightUpdater* updater);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  const std::vector<StoredTensor>& model() const { return model_; }
  // Of the word embedding only the rows that have moments: "rows" names them.
  const std::vector<StoredTensor>& optimizer() const { return optimizer_; }

 private:
  void AddMoments(const std::string& name, const std::vector<float>& flat, const Parameters& parameters);

  std::vector<std::vector<float>> floats_;
  std::vector<int64_t> rows_;
  std::vector<StoredTensor> model_, optimizer_;
};

// Puts a checkpoint's tensors back; updater may be null. Errors: InvalidArgument (E0755: a tensor is missing
// or has another shape), those of SafetensorsFile::Open.
absl::Status RestoreSnapshot(const std::string& checkpoint, Parameters& parameters, WeightUpdater* updater);

}  // namespace rung
