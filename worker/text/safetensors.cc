// ParseSafetensors and SafetensorsFile (weight_files.h). The format: u64 little-endian length, JSON header,
// tensor bytes (huggingface/safetensors, README "Format"). The header comes from strangers: every number is
// checked.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "worker/text/weight_files.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr int64_t kMaxHeaderBytes = int64_t{8} << 20;
constexpr int kMaxHeaderDepth = 3;  // header object > tensor object > shape
constexpr size_t kMaxDimensions = 16;

absl::Status Broken(const std::string& path, const std::string& message, const std::string& value = "") {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0431", absl::StrFormat("not a safetensors file: %s", message), path, value,
                    "Fetch the file again; it may have been cut off or be a Git LFS pointer"});
}

// Parses the header; refuses deep nesting and repeated names, which nlohmann::json would let pass.
absl::StatusOr<json> ParseHeader(const std::string& text, const std::string& path) {
  bool too_deep = false;
  std::string repeated;
  std::set<std::string> names;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxHeaderDepth) too_deep = true;
    if (event == json::parse_event_t::key && depth == 1) {
      const std::string& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second) repeated = name;
    }
    return !too_deep;
  };
  json header = json::parse(text, watch, /*allow_exceptions=*/false);
  if (too_deep) return Broken(path, "the header is nested too deeply");
  if (header.is_discarded() || !header.is_object()) return Broken(path, "the header is not a JSON object");
  if (!repeated.empty())
    return Broken(path, absl::StrFormat("the tensor \"%s\" stands twice", repeated), repeated);
  return header;
}

bool IsCount(const json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
}

absl::StatusOr<TensorInfo> ReadTensor(const std::string& name, const json& entry, int64_t data_start,
                                      int64_t data_bytes, const std::string& path) {
  TensorInfo tensor;
  tensor.name = name;
  const bool shaped = entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
                      entry.contains("shape") && entry["shape"].is_array() &&
                      entry.contains("data_offsets") && entry["data_offsets"].is_array() &&
                      entry["data_offsets"].size() == 2 && entry["shape"].size() <= kMaxDimensions;
  if (!shaped)
    return Broken(path, absl::StrFormat("the tensor \"%s\" lacks dtype, shape or data_offsets", name), name);
  tensor.dtype = entry["dtype"].get<std::string>();
  int64_t bytes = DtypeBytes(tensor.dtype);
  if (bytes == 0)
    return Broken(path, absl::StrFormat("the tensor \"%s\" has an unknown dtype", name), tensor.dtype);
  for (const json& size : entry["shape"]) {
    if (!IsCount(size))
      return Broken(path, absl::StrFormat("the shape of \"%s\" is not made of sizes", name), size.dump());
    tensor.shape.push_back(size.get<int64_t>());
    if (__builtin_mul_overflow(bytes, tensor.shape.back(), &bytes)) {
      return Broken(path, absl::StrFormat("the shape of \"%s\" is too large", name), entry["shape"].dump());
    }
  }
  const json& offsets = entry["data_offsets"];
  if (!IsCount(offsets[0]) || !IsCount(offsets[1])) {
    return Broken(path, absl::StrFormat("the data_offsets of \"%s\" are not two offsets", name),
                  offsets.dump());
  }
  const int64_t begin = offsets[0].get<int64_t>(), end = offsets[1].get<int64_t>();
  if (begin > end || end > data_bytes) {
    return Broken(path, absl::StrFormat("the data_offsets of \"%s\" lie outside the file", name),
                  offsets.dump());
  }
  if (end - begin != bytes) {
    return Broken(
        path, absl::StrFormat("\"%s\" has %d bytes, its shape and dtype need %d", name, end - begin, bytes),
        offsets.dump());
  }
  tensor.begin = data_start + begin;
  tensor.end = data_start + end;
  return tensor;
}

absl::Status CheckNoOverlap(const std::vector<TensorInfo>& tensors, const std::string& path) {
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
    return std::make_pair(a->begin, a->end) < std::make_pair(b->begin, b->end);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->begin < order[i - 1]->end) {
      return Broken(path, absl::StrFormat("\"%s\" and \"%s\" overlap", order[i - 1]->name, order[i]->name),
                    order[i]->name);
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t DtypeBytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> kBytes = {
      {"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4},  {"U32", 4},     {"F16", 2},    {"BF16", 2},
      {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  const auto found = kBytes.find(dtype);
  return found == kBytes.end() ? 0 : found->second;
}

absl::StatusOr<std::vector<TensorInfo>> ParseSafetensors(std::string_view bytes, const std::string& path) {
  if (bytes.size() < 8) return Broken(path, "it is shorter than 8 bytes");
  uint64_t length = 0;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (bytes.substr(0, 19) == "version https://git")
    return Broken(path, "it is a Git LFS pointer, which only names the weights");
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    return Broken(path, "the header is longer than 8 MiB", absl::StrFormat("%d", length));
  }
  if (length > bytes.size() - 8) {
    return Broken(path, "the header is longer than the file", absl::StrFormat("%d", length));
  }
  RUNG_ASSIGN_OR_RETURN(const json header, ParseHeader(std::string(bytes.substr(8, length)), path));
  const int64_t data_start = 8 + static_cast<int64_t>(length), size = static_cast<int64_t>(bytes.size());
  std::vector<TensorInfo> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    RUNG_ASSIGN_OR_RETURN(TensorInfo tensor, ReadTensor(name, entry, data_start, size - data_start, path));
    tensors.push_back(std::move(tensor));
  }
  RUNG_RETURN_IF_ERROR(CheckNoOverlap(tensors, path));
  return tensors;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->path_ = path;
  RUNG_ASSIGN_OR_RETURN(file->file_, MappedFile::Open(path));
  RUNG_ASSIGN_OR_RETURN(file->tensors_, ParseSafetensors(file->file_->bytes(), path));
  return file;
}

const TensorInfo* SafetensorsFile::Find(const std::string& name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

}  // namespace rung
