// Reads the pickles that torch.save writes and nothing else: no name is looked up, no function is called.
// Internal to worker/text. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

// A value of a pickle; others are named by their index in Pickle::values, so that cycles do no harm.
struct PickleValue {
  enum class Kind { kNone, kBool, kInteger, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor, kOther };
  Kind kind = Kind::kNone;
  int64_t number = 0;  // kBool, kInteger; kStorage: elements; kTensor: offset in elements
  std::string text;    // kText; kGlobal: "module name"; kStorage: its key
  std::string dtype;   // kStorage, as in safetensors
  std::vector<int>
      items;  // kTuple, kList; kDict: key, value, key, value, ...; kTensor: storage, size, stride
};

struct Pickle {
  std::vector<PickleValue> values;
  int root = 0;
  size_t bytes = 0;  // that were read
};

// Errors: InvalidArgument with code E0460 (malformed) or E0461 (a type or function that is not allowed).
absl::StatusOr<Pickle> ReadPickle(std::string_view bytes, const std::string& path);

// E0460.
absl::Status BrokenTorchFile(const std::string& path, const std::string& message,
                             const std::string& value = "");

}  // namespace rung
