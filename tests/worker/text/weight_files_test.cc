#include "worker/text/weight_files.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/worker/text/text_files.h"

namespace rung {
namespace {

using nlohmann::json;

// Pickle instructions, as torch.save writes them (protocol 2).
std::string Text(const std::string& text) {
  std::string size(4, '\0');
  size[0] = static_cast<char>(text.size());
  return "X" + size + text;
}
std::string Small(int number) {
  return std::string("K") + static_cast<char>(number);
}
std::string Global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string Storage(const std::string& type, const std::string& key, int elements) {
  return "(" + Text("storage") + Global("torch", type) + Text(key) + Text("cpu") + Small(elements) + "tQ";
}
std::string Sizes(const std::vector<int>& sizes) {
  std::string out = "(";
  for (const int size : sizes) out += Small(size);
  return out + "t";
}
std::string Rebuild(const std::string& storage, int offset, const std::vector<int>& shape,
                    const std::vector<int>& stride) {
  return Global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + Small(offset) + Sizes(shape) +
         Sizes(stride) + "\x89" + Global("collections", "OrderedDict") + ")RtR";
}
std::string Floats(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    const float value = static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}
std::string Dict(const std::string& items) {
  return std::string("\x80\x02", 2) + Global("collections", "OrderedDict") + ")R(" + items + "u.";
}

std::string Little(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  return bytes;
}

// A zip of stored entries; method and size of the first entry may be lied about.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& entries, int method = 0,
                uint64_t more = 0) {
  std::string archive, list;
  for (const auto& [name, bytes] : entries) {
    const uint64_t size = bytes.size() + more;
    const std::string head = Little(0, 2) + Little(static_cast<uint64_t>(method), 2) + Little(0, 4) +
                             Little(0, 4) + Little(size, 4) + Little(size, 4) + Little(name.size(), 2);
    list += Little(0x02014B50, 4) + Little(20, 2) + Little(20, 2) + head + Little(0, 2) + Little(0, 2) +
            Little(0, 8) + Little(archive.size(), 4) + name;
    archive += Little(0x04034B50, 4) + Little(20, 2) + head + Little(0, 2) + name + bytes;
  }
  const uint64_t start = archive.size();
  return archive + list + Little(0x06054B50, 4) + Little(0, 4) + Little(entries.size(), 2) +
         Little(entries.size(), 2) + Little(list.size(), 4) + Little(start, 4) + Little(0, 2);
}

std::string TorchZip(const std::string& pickle, const std::string& storage) {
  return Zip({{"archive/data.pkl", pickle}, {"archive/byteorder", "little"}, {"archive/data/0", storage}});
}

// Two tensors in one storage, the second a row of the first.
std::string GoodPickle() {
  return Dict(Text("a.weight") + Rebuild(Storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1}) + Text("b") +
              Rebuild(Storage("FloatStorage", "0", 6), 3, {3}, {1}));
}

absl::Status Refusal(const std::string& bytes) {
  return ParseTorchFile(bytes, "weights.bin").status();
}

void Refused(const std::string& pickle, const std::string& code, const std::string& part) {
  const absl::Status status = Refusal(TorchZip(pickle, Floats(6)));
  INFO(status);
  CHECK(CodeOf(status) == code);
  CHECK_THAT(std::string(status.message()), Catch::Contains(part));
}

TEST_CASE("what torch.save wrote is read without running it") {
  const std::string bytes = TorchZip(GoodPickle(), Floats(6));
  const auto tensors = ParseTorchFile(bytes, "weights.bin");
  INFO(tensors.status());
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 2);
  const TensorInfo& a = (*tensors)[0];
  const TensorInfo& b = (*tensors)[1];
  CHECK(a.name == "a.weight");
  CHECK(a.dtype == "F32");
  CHECK(a.shape == std::vector<int64_t>{2, 3});
  CHECK(bytes.substr(static_cast<size_t>(a.begin), static_cast<size_t>(a.end - a.begin)) == Floats(6));
  CHECK(bytes.substr(static_cast<size_t>(b.begin), static_cast<size_t>(b.end - b.begin)) ==
        Floats(6).substr(12));
}

TEST_CASE("the format before torch 1.6 is read") {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const std::string protocol = std::string("\x80\x02M\xe9\x03.", 6);
  const std::string system = std::string("\x80\x02}(", 4) + Text("little_endian") + "\x88u.";
  std::string pickle = Dict(Text("a") + Rebuild("(" + Text("storage") + Global("torch", "HalfStorage") +
                                                    Text("7") + Text("cpu") + Small(2) + "NtQ",
                                                0, {2}, {1}));
  const std::string keys = std::string("\x80\x02](", 4) + Text("7") + "e.";
  const std::string whole = magic + protocol + system + pickle + keys + Little(2, 8) + "abcd";
  const auto tensors = ParseTorchFile(whole, "weights.bin");
  INFO(tensors.status());
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 1);
  CHECK((*tensors)[0].dtype == "F16");
  CHECK(whole.substr(static_cast<size_t>((*tensors)[0].begin), 4) == "abcd");
  for (size_t size = 0; size < whole.size(); ++size) {  // cut anywhere
    INFO(size);
    CHECK(CodeOf(Refusal(whole.substr(0, size))) == "E0460");
  }
  const std::string big = magic + protocol + std::string("\x80\x02}(", 4) + Text("little_endian") + "\x89u." +
                          pickle + keys + Little(2, 8) + "abcd";
  CHECK_THAT(std::string(Refusal(big).message()), Catch::Contains("little-endian"));
  const std::string huge = magic + protocol + system + pickle + keys + Little(UINT64_MAX, 8) + "abcd";
  CHECK(CodeOf(Refusal(huge)) == "E0460");
}

TEST_CASE("a pickle that would run something is refused by the name of it") {
  const std::string attack = Dict(Text("a") + Global("os", "system") + "(" + Text("touch /tmp/owned") + "tR");
  Refused(attack, "E0461", "os.system");
  Refused(Dict(Text("a") + Global("builtins", "eval") + "(" + Text("1") + "tR"), "E0461", "builtins.eval");
  Refused(Dict(Text("a") + Text("posix") + Text("system") + "\x93"), "E0461", "posix.system");
  Refused(Dict(Text("a") + Global("torch", "load") + "(" + Text("x") + "tR"), "E0461", "torch.load");
  // Instances, extensions and calls of methods are instructions of their own.
  for (const char opcode : {'i', 'o', '\x81', '\x82', '\x92', 'P'}) {
    Refused(Dict(Text("a") + std::string(1, opcode)), "E0460", "instruction");
  }
}

TEST_CASE("pickles that are no state dict are refused") {
  Refused("", "E0460", "ends");
  Refused(".", "E0460", "not there");
  Refused("t.", "E0460", "never opened");
  Refused("h\x05.", "E0460", "never kept");
  Refused("\x80\x09.", "E0460", "protocol");
  Refused("N.", "E0460", "no state dict");
  Refused(
      "](K\x01"
      "e.",
      "E0460", "no state dict");
  Refused(Dict(Small(1) + Small(2)), "E0460", "no name");
  Refused(Dict(Text("a") + Small(2)), "E0460", "\"a\" is no tensor");
  Refused(Dict(Text("a")), "E0460", "fills");
  Refused(
      "]q\x01"
      "h\x01"
      "a.",
      "E0460", "no state dict");  // a list that holds itself
  Refused(
      "}q\x01"
      "(" +
          Text("a") +
          "h\x01"
          "u.",
      "E0460", "is no tensor");
  Refused(Dict("X\xff\xff\xff\x7f"), "E0460", "ends");
  Refused(Dict("\x8a\xff"), "E0460", "ends");
  Refused(std::string(100'000, '(') + "t.", "E0460", "no state dict");
  const std::string good = Text("a") + Rebuild(Storage("FloatStorage", "0", 6), 0, {6}, {1});
  Refused(Dict(good + good), "E0460", "stands twice");
}

TEST_CASE("tensors that lie about their storage are refused") {
  const auto with = [](const std::string& storage, int offset, const std::vector<int>& shape,
                       const std::vector<int>& stride) {
    return Dict(Text("a") + Rebuild(storage, offset, shape, stride));
  };
  const std::string six = Storage("FloatStorage", "0", 6);
  Refused(with(six, 1, {2, 3}, {3, 1}), "E0460", "outside its storage");
  Refused(with(six, 0, {7}, {1}), "E0460", "outside its storage");
  Refused(with(six, 0, {3, 2}, {1, 3}), "E0460", "row by row");
  Refused(with(six, 0, {2, 3}, {1}), "E0460", "stride");
  Refused(with(Storage("FloatStorage", "1", 6), 0, {6}, {1}), "E0460", "no storage");
  Refused(with(Storage("FloatStorage", "0", 7), 0, {6}, {1}), "E0460", "another size");
  Refused(with(Storage("DoubleStorage", "0", 6), 0, {6}, {1}), "E0460", "another size");
  Refused(with(Storage("QUInt8Storage", "0", 6), 0, {6}, {1}), "E0461", "QUInt8Storage");
  const std::string wide = "\x8a\x08" + Little(uint64_t{1} << 62, 8);
  Refused(Dict(Text("a") + Global("torch._utils", "_rebuild_tensor_v2") + "(" + six + Small(0) + "(" + wide +
               wide + "t(" + Small(1) + Small(1) + "t\x89NtR"),
          "E0460", "too large");
}

TEST_CASE("zip archives that are malformed are refused") {
  const std::string good = TorchZip(GoodPickle(), Floats(6));
  REQUIRE(Refusal(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    INFO(size);
    CHECK(CodeOf(Refusal(good.substr(0, size))) == "E0460");
  }
  // Each byte turned over in turn: nothing may be read outside the file.
  for (size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = static_cast<char>(~changed[i]);
    const auto tensors = ParseTorchFile(changed, "weights.bin");
    if (!tensors.ok()) continue;
    for (const TensorInfo& tensor : *tensors) {
      CHECK(tensor.begin >= 0);
      CHECK(tensor.end <= static_cast<int64_t>(changed.size()));
    }
  }
  CHECK_THAT(std::string(Refusal(Zip({{"a/data.pkl", GoodPickle()}}, 8)).message()),
             Catch::Contains("compressed"));
  CHECK(CodeOf(Refusal(Zip({{"a/data.pkl", GoodPickle()}}, 0, 1000))) == "E0460");
  CHECK_THAT(std::string(Refusal(Zip({{"x", ""}, {"x", ""}})).message()), Catch::Contains("one name"));
  CHECK_THAT(std::string(Refusal(Zip({{"x", ""}})).message()), Catch::Contains("data.pkl"));
  const std::string big =
      Zip({{"a/data.pkl", GoodPickle()}, {"a/byteorder", "big"}, {"a/data/0", Floats(6)}});
  CHECK_THAT(std::string(Refusal(big).message()), Catch::Contains("little-endian"));
}

TEST_CASE("weights are found in one file or in shards") {
  const TemporaryDirectory directory;
  CHECK(CodeOf(WeightFiles::Open(directory.path()).status()) == "E0438");
  directory.Write("pytorch_model.bin", TorchZip(GoodPickle(), Floats(6)));
  auto files = WeightFiles::Open(directory.path());
  REQUIRE(files.ok());
  CHECK((*files)->AllPaths() == std::vector<std::string>{directory.path() + "/pytorch_model.bin"});
  const TensorInfo* b = (*files)->Find("b");
  REQUIRE(b != nullptr);
  float first = 0;
  std::memcpy(&first, (*files)->data(*b), sizeof first);
  CHECK(first == 3);
  // safetensors come first, and shards before a pickle.
  directory.Write("one.safetensors", SafetensorsOf({{"x", {2}}}));
  directory.Write("two.safetensors", SafetensorsOf({{"y", {3}}, {"z", {1}}}));
  const auto index = [&](const json& map) {
    directory.Write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
    return WeightFiles::Open(directory.path());
  };
  const json good = {{"x", "one.safetensors"}, {"y", "two.safetensors"}, {"z", "two.safetensors"}};
  files = index(good);
  INFO(files.status());
  REQUIRE(files.ok());
  CHECK((*files)->tensors().size() == 3);
  CHECK((*files)->path_of(*(*files)->Find("z")) == directory.path() + "/two.safetensors");
  CHECK((*files)->AllPaths().size() == 3);
  const auto refused = [&](const char* pointer, const json& value, const std::string& code) {
    json map = good;
    map[json::json_pointer(pointer)] = value;
    CHECK(CodeOf(index(map).status()) == code);
  };
  refused("/w", "one.safetensors", "E0462");     // the shard lacks it
  refused("/x", "two.safetensors", "E0462");     // it stands in another shard
  refused("/x", "../one.safetensors", "E0462");  // outside the directory
  refused("/x", "/etc/passwd", "E0462");
  refused("/x", 7, "E0462");
  refused("/x", "three.safetensors", "E0430");
  json less = good;
  less.erase("z");
  CHECK(CodeOf(index(less).status()) == "E0462");
  CHECK(CodeOf(index(json::object()).status()) == "E0462");
  directory.Write("model.safetensors", SafetensorsOf({{"w", {1}}}));
  files = WeightFiles::Open(directory.path());
  REQUIRE(files.ok());
  CHECK((*files)->Find("w") != nullptr);
  CHECK((*files)->Find("x") == nullptr);
}

}  // namespace
}  // namespace rung
