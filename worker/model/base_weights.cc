#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "worker/model/classifier.h"

namespace rung {
namespace {

float FromHalf(uint16_t bits) {
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  const int exponent = (bits >> 10) & 31;
  const float fraction = static_cast<float>(bits & 1023);
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  return sign * std::ldexp(1024.0f + fraction, exponent - 25);
}

template <typename T>
T ReadAt(const char* bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

bool IsAligned(const char* bytes) {
  return reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0;
}

absl::StatusOr<BaseTensor> ToFloats(const std::shared_ptr<const WeightFiles>& files,
                                    const TensorInfo& tensor) {
  size_t count = 1;
  for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
  const char* bytes = files->data(tensor);
  if (tensor.dtype == "F32" && IsAligned(bytes))
    return BaseTensor(files, {reinterpret_cast<const float*>(bytes), count});
  std::vector<float> values(count);
  if (tensor.dtype == "F32") {
    std::memcpy(values.data(), bytes, count * sizeof(float));
  } else if (tensor.dtype == "F16") {
    for (size_t i = 0; i < count; ++i) values[i] = FromHalf(ReadAt<uint16_t>(bytes, i));
  } else if (tensor.dtype == "BF16") {
    for (size_t i = 0; i < count; ++i) {
      values[i] = std::bit_cast<float>(static_cast<uint32_t>(ReadAt<uint16_t>(bytes, i)) << 16);
    }
  } else if (tensor.dtype == "F64") {
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(ReadAt<double>(bytes, i));
  } else {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        {.code = "E0439",
         .message = absl::StrFormat("tensor %s has a type that is not read as weights", tensor.name),
         .where = files->path_of(tensor),
         .value = tensor.dtype,
         .mend = "Save the model with F32, F16, BF16 or F64 weights"});
  }
  return BaseTensor(std::move(values));
}

}  // namespace

absl::StatusOr<BaseWeights> LoadBaseWeights(const std::string& directory, ModelPart part) {
  RUNG_ASSIGN_OR_RETURN(const ModelFiles files, CheckModelDirectory(directory, part));
  RUNG_ASSIGN_OR_RETURN(const std::shared_ptr<const WeightFiles> weights, WeightFiles::Open(directory));
  BaseWeights base;
  base.config = files.config;
  for (const auto& [name, tensor_name] : files.names) {
    const TensorInfo* tensor = weights->Find(tensor_name);
    if (tensor == nullptr) {
      return MakeError(absl::StatusCode::kInvalidArgument,
                       {.code = "E0435",
                        .message = "the weights changed while they were read: a tensor is missing",
                        .where = files.weights_paths.front(),
                        .value = tensor_name,
                        .mend = "Do not write to a model in use"});
    }
    RUNG_ASSIGN_OR_RETURN(BaseTensor values, ToFloats(weights, *tensor));
    base.tensors.emplace_back(name, std::move(values));
  }
  return base;
}

}  // namespace rung
