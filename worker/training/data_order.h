// The order of a training epoch: which rows form which batch. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace rung {

// The batches of epoch `epoch`, a function of the arguments alone, always over the whole epoch: a budget only
// cuts it. Rows are shuffled and cut into windows of many batches; inside a window rows of like length form a
// batch (ties in shuffled order); then the batches of the whole epoch are shuffled. Each row stands in
// exactly one batch. Where the rows are no multiple of the batch size, one batch at a random place of the
// last window is smaller: it is not always the one with the longest texts.
std::vector<std::vector<int>> EpochBatches(const std::vector<int32_t>& lengths, int batch_size, uint64_t seed,
                                           int64_t epoch);

}  // namespace rung
