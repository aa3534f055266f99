// The values of a model's weights, of every type that is read.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/worker/text/text_files.h"
#include "worker/model/classifier.h"

namespace rung {
namespace {

std::string Bits(const std::vector<uint64_t>& values, int width) {
  std::string bytes;
  for (const uint64_t value : values) {
    for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  }
  return bytes;
}

// The bias of the pooler, which has four values, as it is read; all other weights are zero.
std::vector<float> Read(const std::string& dtype, int width, const std::vector<uint64_t>& values) {
  const TemporaryDirectory directory;
  const std::string model = WriteTinyModel(directory, "model");
  nlohmann::json header;
  std::string data;
  for (const auto& [name, shape] : TinyWeights()) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    const size_t begin = data.size();
    data += name == "pooler.dense.bias" ? Bits(values, width)
                                        : std::string(count * static_cast<size_t>(width), '\0');
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  directory.Write("model/model.safetensors", Safetensors(header.dump(), data));
  const auto base = LoadBaseWeights(model);
  INFO(base.status());
  REQUIRE(base.ok());
  for (const auto& [name, tensor] : base->tensors) {
    const std::vector<float> floats(tensor.values().begin(), tensor.values().end());
    if (name == "pooler.dense.bias") return floats;
    CHECK(floats == std::vector<float>(floats.size(), 0));
  }
  return {};
}

}  // namespace

TEST_CASE("weights of half and double precision have their values as floats") {
  const std::vector<float> expected = {1, -2.5f, 0x1p-14f, 0.0999755859375f};
  CHECK(Read("F32", 4, {0x3F800000, 0xC0200000, 0x38800000, 0x3DCCC000}) == expected);
  CHECK(Read("F16", 2, {0x3C00, 0xC100, 0x0400, 0x2E66}) == expected);
  CHECK(Read("F64", 8, {0x3FF0000000000000, 0xC004000000000000, 0x3F10000000000000, 0x3FB9980000000000}) ==
        expected);
  CHECK(Read("BF16", 2, {0x3F80, 0xC020, 0x3880, 0x3DCD}) ==
        std::vector<float>{1, -2.5f, 0x1p-14f, 0.10009765625f});
}

TEST_CASE("the ends of half precision: the largest numbers, those below the normal ones, signed zeros") {
  CHECK(Read("F16", 2, {0x7BFF, 0xFBFF, 0x0001, 0x83FF}) ==
        std::vector<float>{65504, -65504, 0x1p-24f, -0x1.ff8p-15f});
  const std::vector<float> ends = Read("F16", 2, {0x7C00, 0xFC00, 0x8000, 0x7E00});
  CHECK(ends[0] == INFINITY);
  CHECK(ends[1] == -INFINITY);
  CHECK((ends[2] == 0 && std::signbit(ends[2])));
  CHECK(std::isnan(ends[3]));
  CHECK(Read("BF16", 2, {0x7F7F, 0x0001, 0x7F80, 0xFF80}) ==
        std::vector<float>{0x1.fep127f, 0x1p-133f, INFINITY, -INFINITY});
}

}  // namespace rung
