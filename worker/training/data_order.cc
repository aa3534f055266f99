#include "worker/training/data_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "worker/model/counter_random.h"

namespace rung {
namespace {

constexpr size_t kWindowBatches = 50;

template <typename T>
void Shuffle(std::vector<T>& values, CounterRandom& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.Below(i)]);
}

}  // namespace

std::vector<std::vector<int>> EpochBatches(const std::vector<int32_t>& lengths, int batch_size, uint64_t seed,
                                           int64_t epoch) {
  CounterRandom random(
      KeyOf({static_cast<uint64_t>(RandomPurpose::kOrder), seed, static_cast<uint64_t>(epoch)}));
  std::vector<int> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), 0);
  Shuffle(rows, random);
  const size_t size = static_cast<size_t>(batch_size);
  std::vector<std::vector<int>> batches;
  for (size_t begin = 0; begin < rows.size(); begin += kWindowBatches * size) {
    const size_t end = std::min(rows.size(), begin + kWindowBatches * size);
    std::stable_sort(
        rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.begin() + static_cast<std::ptrdiff_t>(end),
        [&](int a, int b) { return lengths[static_cast<size_t>(a)] < lengths[static_cast<size_t>(b)]; });
    const size_t count = (end - begin + size - 1) / size;
    const size_t rest = (end - begin) % size;
    const size_t smaller = rest == 0 ? count : static_cast<size_t>(random.Below(count));
    size_t at = begin;
    for (size_t i = 0; i < count; ++i) {
      const size_t n = i == smaller ? rest : size;
      batches.emplace_back(rows.begin() + static_cast<std::ptrdiff_t>(at),
                           rows.begin() + static_cast<std::ptrdiff_t>(at + n));
      at += n;
    }
  }
  Shuffle(batches, random);
  return batches;
}

}  // namespace rung
