// Checkpoints (docs/trainer-messages.md, "Checkpoints"): update-NNNNNNNN/ with model.safetensors (the tensors
// of Hugging Face's AutoModelForSequenceClassification), optimizer.safetensors, state.json and manifest.json.
// Files in, files out: no torch. One thread per directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace rung {

// A tensor to be written, or one that was read. The bytes are borrowed.
struct StoredTensor {
  std::string name;
  std::string dtype;  // "F32" or "I64"
  std::vector<int64_t> shape;
  const void* data = nullptr;
  int64_t bytes = 0;
};

// Writes a safetensors file, fsynced. The file must not exist. Errors: Unavailable (E0754).
absl::Status WriteSafetensors(const std::string& path, const std::vector<StoredTensor>& tensors);

struct CheckpointContent {
  int64_t update = 0;
  double budget = 0;
  nlohmann::json state;
  std::vector<StoredTensor> model;
  std::vector<StoredTensor> optimizer;  // empty: no further training can follow
};

// Writes, fsyncs, renames; then removes all but the `keep` newest. Returns the name of the new directory.
// Errors: Unavailable (E0754: path and reason; a full disk too).
absl::StatusOr<std::string> WriteCheckpoint(const std::string& directory, const CheckpointContent& content,
                                            int keep);

struct FoundCheckpoint {
  std::string path;
  int64_t update = 0;
};
// The newest directory in `directory` with update <= `at_most` whose files match its manifest. Each one that
// does not is named in `rejected` with the reason. nullopt: there is none.
std::optional<FoundCheckpoint> FindCheckpoint(const std::string& directory, int64_t at_most,
                                              std::vector<std::string>* rejected);

// Errors: InvalidArgument (E0755) if it is no JSON object; those of ReadFile.
absl::StatusOr<nlohmann::json> ReadCheckpointState(const std::string& checkpoint);

}  // namespace rung
