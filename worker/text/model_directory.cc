#include "worker/text/model_directory.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/status.h"
#include "worker/text/model_tensors.h"

namespace rung {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNamedTensors = 8;  // of each kind; an error lists at most so many
constexpr size_t kLongestName = 200;
constexpr int64_t kMaxRefBytes = 256;

bool HoldsModel(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(directory / "config.json", ignored);
}

// The first of these variables that is set, "~" at its start replaced as the Hub's client does; or empty.
std::string PathVariable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const char* home = std::getenv("HOME");
    const bool at_home = home != nullptr && value[0] == '~' && (value[1] == '/' || value[1] == '\0');
    return AbsolutePath(at_home ? std::string(home) + (value + 1) : value);
  }
  return "";
}

// The snapshot that refs/main names, where it holds a model; or empty.
fs::path MainSnapshot(const fs::path& repository) {
  const absl::StatusOr<std::string> commit = ReadFile((repository / "refs" / "main").string(), kMaxRefBytes);
  if (!commit.ok()) return {};
  const std::string name(absl::StripAsciiWhitespace(*commit));
  if (name.empty() || name.find('/') != std::string::npos || name[0] == '.') return {};
  const fs::path snapshot = repository / "snapshots" / name;
  return HoldsModel(snapshot) ? snapshot : fs::path();
}

// The newest snapshot that holds a model, or empty.
fs::path NewestSnapshot(const fs::path& repository) {
  fs::path newest;
  fs::file_time_type newest_time;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (!HoldsModel(entry.path())) continue;
    std::error_code ignored;
    const fs::file_time_type time = entry.last_write_time(ignored);
    if (newest.empty() || time > newest_time || (time == newest_time && entry.path() > newest)) {
      newest = entry.path();
      newest_time = time;
    }
  }
  return newest;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return "[" + absl::StrJoin(shape, ", ") + "]";
}

// "a, b, c and 5 more".
std::string NameList(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kNamedTensors); ++i)
    shown.push_back(Shortened(names[i], kLongestName));
  const std::string list = absl::StrJoin(shown, ", ");
  if (names.size() == shown.size()) return list;
  return absl::StrFormat("%s and %d more", list, names.size() - shown.size());
}

absl::Status UnmatchedNames(const std::vector<std::string>& missing,
                            const std::vector<std::string>& unexpected, const std::string& path) {
  std::vector<std::string> faults;
  if (!missing.empty()) faults.push_back("lack " + NameList(missing));
  if (!unexpected.empty())
    faults.push_back(absl::StrFormat("hold %s, which no such encoder has", NameList(unexpected)));
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {missing.empty() ? "E0437" : "E0435", "the weights " + absl::StrJoin(faults, "; they "),
                    path, Shortened((missing.empty() ? unexpected : missing).front(), kLongestName),
                    "Use the weights of an encoder that belong to this config.json"});
}

absl::Status CheckTensor(const ModelTensor& needed, const TensorInfo& found, const std::string& path) {
  if (found.shape != needed.shape) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0436",
                      absl::StrFormat("\"%s\" has the shape %s, config.json needs %s", found.name,
                                      ShapeText(found.shape), ShapeText(needed.shape)),
                      path, ShapeText(found.shape), "Use weights that belong to this config.json"});
  }
  if (found.dtype != "F32" && found.dtype != "F16" && found.dtype != "BF16" && found.dtype != "F64") {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0436",
                      absl::StrFormat("\"%s\" has the dtype %s; supported are F32, F16, BF16, F64",
                                      found.name, found.dtype),
                      path, found.dtype, "Save the weights as float32"});
  }
  return absl::OkStatus();
}

}  // namespace

std::string HubHome() {
  if (const std::string home = PathVariable({"HF_HOME"}); !home.empty()) return home;
  if (const std::string cache = PathVariable({"XDG_CACHE_HOME"}); !cache.empty())
    return cache + "/huggingface";
  return PathVariable({"HOME"}) + "/.cache/huggingface";
}

std::string HubCache() {
  const std::string cache = PathVariable({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  return cache.empty() ? HubHome() + "/hub" : cache;
}

std::string HubFolder(const std::string& name) {
  return "models--" + absl::StrReplaceAll(name, {{"/", "--"}});
}

absl::StatusOr<std::string> ResolveModel(const std::string& name, const std::string& base_directory) {
  std::vector<std::string> places;
  const std::string path = AbsolutePath(name, base_directory);
  places.push_back(path);
  if (HoldsModel(path)) return path;
  std::error_code ignored;
  // A directory that exists is what was meant: its fault is told by ReadModelConfig.
  if (fs::is_directory(path, ignored)) return path;
  if (fs::exists(path, ignored)) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0432", absl::StrFormat("\"%s\" is a file, not a model's directory", name), path, name,
                      "Give the directory that it lies in: " + fs::path(path).parent_path().string()});
  }
  std::string mend = "Give the path of a directory with config.json and its weights";
  if (!name.empty() && !absl::StartsWith(name, "/") && !absl::StartsWith(name, ".")) {
    const std::string repository = HubCache() + "/" + HubFolder(name);
    places.push_back(repository);
    for (const fs::path& snapshot : {MainSnapshot(repository), NewestSnapshot(repository)}) {
      if (!snapshot.empty()) return snapshot.string();
    }
    if (std::count(name.begin(), name.end(), '/') <= 1)
      mend += ", or fetch the model from the Hub: `rung model pull " + name + "`";
  }
  return MakeError(absl::StatusCode::kNotFound, {"E0432",
                                                 absl::StrFormat("there is no model \"%s\"; looked at %s",
                                                                 name, absl::StrJoin(places, " and ")),
                                                 "", name, mend});
}

absl::StatusOr<ModelFiles> CheckModelDirectory(const std::string& directory, ModelPart part) {
  ModelFiles files;
  RUNG_ASSIGN_OR_RETURN(files.config, ReadModelConfig(directory));
  RUNG_ASSIGN_OR_RETURN(const std::unique_ptr<WeightFiles> weights, WeightFiles::Open(directory));
  files.weights_paths = weights->AllPaths();
  const std::string& weights_path = files.weights_paths.front();
  std::map<std::string, const TensorInfo*> by_our_name;
  for (const TensorInfo& tensor : weights->tensors()) {
    by_our_name.emplace(PlainName(files.config.family, tensor.name), &tensor);
  }
  std::vector<ModelTensor> tensors = EncoderTensors(files.config);
  if (part == ModelPart::kWithHead) {
    const std::vector<ModelTensor> head =
        HeadTensors(files.config, static_cast<int>(files.config.labels.size()));
    tensors.insert(tensors.end(), head.begin(), head.end());
  }
  std::vector<std::string> missing, unexpected;
  absl::Status misfit;  // the first tensor of another shape or type
  for (const ModelTensor& needed : tensors) {
    const auto found = by_our_name.find(needed.name);
    if (found == by_our_name.end()) {
      missing.push_back(needed.name);
      continue;
    }
    if (misfit.ok()) misfit = CheckTensor(needed, *found->second, weights_path);
    files.names.emplace_back(needed.name, found->second->name);
    by_our_name.erase(found);
  }
  for (const auto& [name, tensor] : by_our_name) {
    if (!IsForeignTensor(files.config.family, name)) unexpected.push_back(tensor->name);
  }
  if (!missing.empty() || !unexpected.empty()) return UnmatchedNames(missing, unexpected, weights_path);
  RUNG_RETURN_IF_ERROR(misfit);
  return files;
}

}  // namespace rung
