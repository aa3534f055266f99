// A batch without padding: the tokens of all sequences in one row, with the sequences' start offsets. Values.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace rung {

// An example as the model reads it.
struct EncodedExample {
  std::vector<int32_t> ids;
  std::vector<int32_t> token_types;  // same length
  int label = 0;                     // single-label
  std::vector<float> targets = {};   // else: one for each output of the model
  float weight = 1;                  // of its loss
};

struct PackedBatch {
  std::vector<int64_t> ids;          // (sum L)
  std::vector<int64_t> token_types;  // (sum L)
  std::vector<int64_t> positions;    // (sum L): 0, 1, ... in each sequence
  std::vector<int64_t> starts;       // (n + 1): sequence i has the rows [starts[i], starts[i + 1])
  std::vector<int64_t> labels;       // (n)
  std::vector<float> targets;        // (n, outputs); empty where rows have a label
  std::vector<float> weights;        // (n), of the losses; empty: all 1
  std::vector<int> rows;             // (n): which examples these are

  int sequences() const { return static_cast<int>(labels.size()); }
  double weight_sum() const {
    return weights.empty() ? sequences() : std::accumulate(weights.begin(), weights.end(), 0.0);
  }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
};

// The examples of `rows`, ordered by length (ties in the given order): equal lengths stand together, which is
// what makes attention run as few matrix products. No example may be empty.
PackedBatch PackBatch(const std::vector<EncodedExample>& examples, const std::vector<int>& rows);

}  // namespace rung
