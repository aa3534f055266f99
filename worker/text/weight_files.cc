#include "worker/text/weight_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/json_file.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxIndexBytes = int64_t{64} << 20;
constexpr size_t kMaxShards = 1000;

absl::Status BadIndex(const std::string& path, const std::string& message, const std::string& value) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0462", message, path, value, "Fetch the index and all of its shards again"});
}

// A shard stands beside its index.
bool IsFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

absl::Status WeightFiles::Add(const std::string& path, bool safetensors) {
  RUNG_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  RUNG_ASSIGN_OR_RETURN(std::vector<TensorInfo> tensors, safetensors ? ParseSafetensors(file->bytes(), path)
                                                                     : ParseTorchFile(file->bytes(), path));
  for (TensorInfo& tensor : tensors) {
    tensor.file = static_cast<int>(files_.size());
    tensors_.push_back(std::move(tensor));
  }
  paths_.push_back(path);
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status WeightFiles::AddShards(const std::string& directory, const std::string& index,
                                    bool safetensors) {
  RUNG_ASSIGN_OR_RETURN(const std::string text, ReadFile(index, kMaxIndexBytes));
  const json file = ParseJson(text);
  const json map = file.is_object() ? file.value("weight_map", json()) : json();
  if (!map.is_object() || map.empty()) return BadIndex(index, "the index has no weight_map", "");
  std::map<std::string, std::string> shard_of;  // tensor -> file name
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map.items()) {
    if (!shard.is_string() || !IsFileName(shard.get<std::string>())) {
      return BadIndex(index, absl::StrFormat("the shard of \"%s\" is no file name", tensor), shard.dump());
    }
    shard_of[tensor] = shard.get<std::string>();
    shards.insert(shard.get<std::string>());
  }
  if (shards.size() > kMaxShards) return BadIndex(index, "the index has more than 1000 shards", "");
  for (const std::string& shard : shards) RUNG_RETURN_IF_ERROR(Add(directory + "/" + shard, safetensors));
  for (const TensorInfo& tensor : tensors_) {
    const auto named = shard_of.find(tensor.name);
    const std::string shard = std::filesystem::path(path_of(tensor)).filename().string();
    if (named == shard_of.end() || named->second != shard) {
      return BadIndex(index,
                      absl::StrFormat("\"%s\" stands in %s, the index does not say so", tensor.name, shard),
                      tensor.name);
    }
    shard_of.erase(named);
  }
  if (shard_of.empty()) return absl::OkStatus();
  const auto& [tensor, shard] = *shard_of.begin();
  return BadIndex(index, absl::StrFormat("%s has no \"%s\", the index says so", shard, tensor), tensor);
}

absl::StatusOr<std::unique_ptr<WeightFiles>> WeightFiles::Open(const std::string& directory) {
  std::unique_ptr<WeightFiles> files(new WeightFiles());
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    const bool safetensors = std::string(name) == "model.safetensors";
    const std::string path = directory + "/" + name, index = path + ".index.json";
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      RUNG_RETURN_IF_ERROR(files->Add(path, safetensors));
      return files;
    }
    if (std::filesystem::exists(index, ignored)) {
      files->index_path_ = index;
      RUNG_RETURN_IF_ERROR(files->AddShards(directory, index, safetensors));
      return files;
    }
  }
  return MakeError(
      absl::StatusCode::kNotFound,
      {"E0438", "the model directory has no model.safetensors, no pytorch_model.bin, and no index of shards",
       directory, directory, "Save the model into it with save_pretrained"});
}

const TensorInfo* WeightFiles::Find(const std::string& name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

std::vector<std::string> WeightFiles::AllPaths() const {
  std::vector<std::string> all;
  if (!index_path_.empty()) all.push_back(index_path_);
  all.insert(all.end(), paths_.begin(), paths_.end());
  return all;
}

}  // namespace rung
