// The weights of a model directory, memory-mapped: safetensors or what torch.save wrote, in one file or in
// shards with an index. The files come from strangers: every number in them is checked. Thread-safe after
// opening.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

struct TensorInfo {
  std::string name;
  std::string dtype;  // "F32", "F16", "BF16", "I64", ...
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes, from the start of the file; row-major
  int file = 0;                // index into WeightFiles::paths()
};

// Bytes of an element, 0 for an unknown dtype.
int64_t DtypeBytes(const std::string& dtype);

// A file's bytes, mapped read-only.
class MappedFile {
 public:
  // Errors: NotFound, PermissionDenied, Internal (E0430).
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::string_view bytes() const { return {bytes_, size_}; }

 private:
  MappedFile() = default;
  const char* bytes_ = nullptr;
  size_t size_ = 0;
};

// The tensors of a safetensors file: header <= 8 MiB, offsets overflow-checked, no overlaps, dtype x shape =
// bytes. Errors: InvalidArgument (E0431: which rule of the format the file breaks).
absl::StatusOr<std::vector<TensorInfo>> ParseSafetensors(std::string_view bytes, const std::string& path);

// The tensors of a state dict that torch.save wrote, as zip or in the format before torch 1.6. The pickle is
// read, never run: names of tensors, OrderedDict and storages are all it may hold. Errors: InvalidArgument
// (E0460: what is wrong with the file; E0461: it asks for another function or type, which is named).
absl::StatusOr<std::vector<TensorInfo>> ParseTorchFile(std::string_view bytes, const std::string& path);

// One safetensors file: what a checkpoint is kept in.
class SafetensorsFile {
 public:
  // Errors: those of MappedFile::Open and ParseSafetensors.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* Find(const std::string& name) const;
  // The tensor's bytes; valid while the file is open.
  const char* data(const TensorInfo& tensor) const { return file_->bytes().data() + tensor.begin; }
  const std::string& path() const { return path_; }

 private:
  SafetensorsFile() = default;
  std::string path_;
  std::unique_ptr<MappedFile> file_;
  std::vector<TensorInfo> tensors_;
};

class WeightFiles {
 public:
  // The first of model.safetensors, model.safetensors.index.json, pytorch_model.bin,
  // pytorch_model.bin.index.json that is there. Errors: NotFound (E0438: none of them; E0430),
  // InvalidArgument (E0431, E0460, E0461; E0462: the index and its shards do not fit).
  static absl::StatusOr<std::unique_ptr<WeightFiles>> Open(const std::string& directory);

  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* Find(const std::string& name) const;
  // The tensor's bytes, not aligned; valid as long as this.
  const char* data(const TensorInfo& tensor) const {
    return files_[static_cast<size_t>(tensor.file)]->bytes().data() + tensor.begin;
  }
  const std::string& path_of(const TensorInfo& tensor) const {
    return paths_[static_cast<size_t>(tensor.file)];
  }
  // The files with tensors, and the index where there is one, first.
  std::vector<std::string> AllPaths() const;

 private:
  WeightFiles() = default;
  absl::Status Add(const std::string& path, bool safetensors);
  absl::Status AddShards(const std::string& directory, const std::string& index, bool safetensors);

  std::string index_path_;  // empty: one file
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace rung
