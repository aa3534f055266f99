// ParseTorchFile (weight_files.h): torch.save's zip (data.pkl and one entry a storage), and its format before
// torch 1.6 (five pickles, then the storages).
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "worker/text/unpickler.h"
#include "worker/text/weight_files.h"
#include "worker/text/zip_entries.h"

namespace rung {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxPickleBytes = size_t{64} << 20;
constexpr size_t kMaxDimensions = 16;
// The first pickle of the older format: the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

// Storage key -> where its bytes stand in the file.
using Places = std::map<std::string, ZipEntry>;

class StateDict {
 public:
  StateDict(const Pickle& pickle, const Places& places, const std::string& path)
      : pickle_(pickle), places_(places), path_(path) {}

  absl::StatusOr<std::vector<TensorInfo>> Tensors() const {
    const PickleValue& root = At(pickle_.root);
    if (root.kind != Kind::kDict) return BrokenTorchFile(path_, "it holds no state dict");
    std::map<std::string, TensorInfo> tensors;
    for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
      const PickleValue& key = At(root.items[i]);
      if (key.kind != Kind::kText) return BrokenTorchFile(path_, "a key of the state dict is no name");
      RUNG_ASSIGN_OR_RETURN(TensorInfo tensor, Tensor(key.text, At(root.items[i + 1])));
      if (!tensors.emplace(key.text, std::move(tensor)).second) {
        return BrokenTorchFile(path_, absl::StrFormat("the tensor \"%s\" stands twice", key.text), key.text);
      }
    }
    std::vector<TensorInfo> out;
    for (auto& [name, tensor] : tensors) out.push_back(std::move(tensor));
    return out;
  }

 private:
  const PickleValue& At(int index) const { return pickle_.values[static_cast<size_t>(index)]; }
  absl::Status Broken(const std::string& name, const char* what) const {
    return BrokenTorchFile(path_, absl::StrFormat("\"%s\" %s", name, what), name);
  }

  absl::StatusOr<std::vector<int64_t>> Sizes(const std::string& name, int index) const {
    std::vector<int64_t> sizes;
    for (const int item : At(index).items) {
      if (At(item).kind != Kind::kInteger || At(item).number < 0)
        return Broken(name, "has a size that is none");
      sizes.push_back(At(item).number);
    }
    if (sizes.size() > kMaxDimensions) return Broken(name, "has too many dimensions");
    return sizes;
  }

  absl::StatusOr<TensorInfo> Tensor(const std::string& name, const PickleValue& value) const {
    if (value.kind != Kind::kTensor) return Broken(name, "is no tensor");
    const PickleValue& storage = At(value.items[0]);
    TensorInfo tensor;
    tensor.name = name;
    tensor.dtype = storage.dtype;
    RUNG_ASSIGN_OR_RETURN(tensor.shape, Sizes(name, value.items[1]));
    RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> strides, Sizes(name, value.items[2]));
    if (strides.size() != tensor.shape.size()) return Broken(name, "has a stride too many or too few");
    int64_t count = 1;
    bool row_major = true;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      row_major = row_major && (tensor.shape[i] == 1 || strides[i] == count);
      if (__builtin_mul_overflow(count, tensor.shape[i], &count)) return Broken(name, "is too large");
    }
    if (!row_major && count > 0) return Broken(name, "is not stored row by row; save it after contiguous()");
    int64_t last = 0;
    if (__builtin_add_overflow(value.number, count, &last) || last > storage.number) {
      return Broken(name, "lies outside its storage");
    }
    const auto place = places_.find(storage.text);
    const int64_t width = DtypeBytes(storage.dtype);
    int64_t bytes = 0;
    if (place == places_.end()) return Broken(name, "has no storage");
    if (__builtin_mul_overflow(storage.number, width, &bytes) ||
        static_cast<uint64_t>(bytes) != place->second.end - place->second.begin) {
      return Broken(name, "has a storage of another size");
    }
    tensor.begin = static_cast<int64_t>(place->second.begin) + value.number * width;
    tensor.end = tensor.begin + count * width;
    return tensor;
  }

  const Pickle& pickle_;
  const Places& places_;
  const std::string& path_;
};

absl::StatusOr<std::vector<TensorInfo>> ParseZip(std::string_view bytes, const std::string& path) {
  const auto entries = ZipEntries(bytes);
  if (!entries.ok()) return BrokenTorchFile(path, std::string(entries.status().message()));
  std::string root;
  const ZipEntry* pickle_entry = nullptr;
  for (const auto& [name, entry] : *entries) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos || name.substr(slash) != "/data.pkl") continue;
    root = name.substr(0, slash + 1);
    pickle_entry = &entry;
  }
  if (pickle_entry == nullptr) return BrokenTorchFile(path, "it has no data.pkl");
  const auto order = entries->find(root + "byteorder");
  if (order != entries->end() &&
      bytes.substr(order->second.begin, order->second.end - order->second.begin) != "little") {
    return BrokenTorchFile(path, "its bytes are not in little-endian order");
  }
  const size_t size = pickle_entry->end - pickle_entry->begin;
  if (size > kMaxPickleBytes) return BrokenTorchFile(path, "its data.pkl is longer than 64 MiB");
  RUNG_ASSIGN_OR_RETURN(const Pickle pickle, ReadPickle(bytes.substr(pickle_entry->begin, size), path));
  Places places;
  const std::string data = root + "data/";
  for (const auto& [name, entry] : *entries) {
    if (absl::StartsWith(name, data)) places.emplace(name.substr(data.size()), entry);
  }
  return StateDict(pickle, places, path).Tensors();
}

// After the pickle of the storages' keys: of each the number of its elements, then their bytes.
absl::StatusOr<Places> LegacyPlaces(std::string_view bytes, size_t at, const Pickle& keys, const Pickle& dict,
                                    const std::string& path) {
  std::map<std::string, int64_t> widths;
  for (const PickleValue& value : dict.values) {
    if (value.kind == Kind::kStorage) widths[value.text] = DtypeBytes(value.dtype);
  }
  Places places;
  const PickleValue& list = keys.values[static_cast<size_t>(keys.root)];
  if (list.kind != Kind::kList) return BrokenTorchFile(path, "it has no list of storages");
  for (const int item : list.items) {
    const std::string& key = keys.values[static_cast<size_t>(item)].text;
    const auto width = widths.find(key);
    if (width == widths.end()) return BrokenTorchFile(path, "it lists a storage that no tensor has", key);
    if (bytes.size() - at < 8) return BrokenTorchFile(path, "it is cut off");
    uint64_t count = 0;
    for (size_t i = 8; i-- > 0;) count = count << 8 | static_cast<unsigned char>(bytes[at + i]);
    at += 8;
    uint64_t size = 0;
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(width->second), &size) ||
        size > bytes.size() - at) {
      return BrokenTorchFile(path, "it is cut off");
    }
    places[key] = {at, at + static_cast<size_t>(size)};
    at += static_cast<size_t>(size);
  }
  return places;
}

absl::StatusOr<std::vector<TensorInfo>> ParseLegacy(std::string_view bytes, const std::string& path) {
  size_t at = kLegacyMagic.size();
  const auto next = [&]() -> absl::StatusOr<Pickle> {
    absl::StatusOr<Pickle> pickle = ReadPickle(bytes.substr(at, kMaxPickleBytes), path);
    if (pickle.ok()) at += pickle->bytes;
    return pickle;
  };
  RUNG_ASSIGN_OR_RETURN(const Pickle protocol, next());
  if (protocol.values[static_cast<size_t>(protocol.root)].number != 1001) {
    return BrokenTorchFile(path, "it has an unknown protocol");
  }
  RUNG_ASSIGN_OR_RETURN(const Pickle system, next());
  const std::vector<int>& facts = system.values[static_cast<size_t>(system.root)].items;
  for (size_t i = 0; i + 1 < facts.size(); i += 2) {
    const bool little = system.values[static_cast<size_t>(facts[i + 1])].number == 1;
    if (system.values[static_cast<size_t>(facts[i])].text == "little_endian" && !little) {
      return BrokenTorchFile(path, "its bytes are not in little-endian order");
    }
  }
  RUNG_ASSIGN_OR_RETURN(const Pickle dict, next());
  RUNG_ASSIGN_OR_RETURN(const Pickle keys, next());
  RUNG_ASSIGN_OR_RETURN(const Places places, LegacyPlaces(bytes, at, keys, dict, path));
  return StateDict(dict, places, path).Tensors();
}

}  // namespace

absl::StatusOr<std::vector<TensorInfo>> ParseTorchFile(std::string_view bytes, const std::string& path) {
  if (bytes.starts_with(kLegacyMagic)) return ParseLegacy(bytes, path);
  return ParseZip(bytes, path);
}

}  // namespace rung
