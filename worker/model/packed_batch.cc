#include "worker/model/packed_batch.h"

#include <algorithm>

#include "base/check.h"

namespace rung {

PackedBatch PackBatch(const std::vector<EncodedExample>& examples, const std::vector<int>& rows) {
  PackedBatch batch;
  batch.rows = rows;
  std::stable_sort(batch.rows.begin(), batch.rows.end(), [&](int a, int b) {
    return examples[static_cast<size_t>(a)].ids.size() < examples[static_cast<size_t>(b)].ids.size();
  });
  batch.starts.push_back(0);
  for (const int row : batch.rows) {
    const EncodedExample& example = examples[static_cast<size_t>(row)];
    RUNG_CHECK(!example.ids.empty(), "an encoded example has at least its special tokens");
    batch.ids.insert(batch.ids.end(), example.ids.begin(), example.ids.end());
    batch.token_types.insert(batch.token_types.end(), example.token_types.begin(), example.token_types.end());
    for (size_t i = 0; i < example.ids.size(); ++i) batch.positions.push_back(static_cast<int64_t>(i));
    batch.starts.push_back(batch.tokens());
    batch.labels.push_back(example.label);
    batch.weights.push_back(example.weight);
    batch.targets.insert(batch.targets.end(), example.targets.begin(), example.targets.end());
  }
  if (std::all_of(batch.weights.begin(), batch.weights.end(), [](float weight) { return weight == 1; }))
    batch.weights.clear();
  return batch;
}

}  // namespace rung
