// What the real torch.save wrote (weights_fixture.py) is read with the bytes that safetensors has for the
// same tensors.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "base/status.h"
#include "worker/text/weight_files.h"

namespace rung {
namespace {

std::string Fixture(const std::string& name) {
  const char* directory = std::getenv("RUNG_PARITY_DIR");
  INFO("RUNG_PARITY_DIR must be set (make test does)");
  REQUIRE(directory != nullptr);
  return std::string(directory) + "/weights/" + name;
}

std::unique_ptr<MappedFile> Map(const std::string& name) {
  auto file = MappedFile::Open(Fixture(name));
  REQUIRE(file.ok());
  return *std::move(file);
}

std::string Bytes(const MappedFile& file, const TensorInfo& tensor) {
  return std::string(
      file.bytes().substr(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin)));
}

TEST_CASE("state dicts of every format hold the oracle's tensors") {
  const auto expected_file = Map("expected.safetensors");
  const auto expected = ParseSafetensors(expected_file->bytes(), "expected");
  REQUIRE(expected.ok());
  CHECK(expected->size() == 16);
  for (const char* name : {"zip.bin", "dict.bin", "legacy.bin", "protocol4.bin", "parameters.bin"}) {
    INFO(name);
    const auto file = Map(name);
    const auto tensors = ParseTorchFile(file->bytes(), name);
    INFO(tensors.status());
    REQUIRE(tensors.ok());
    REQUIRE(tensors->size() == expected->size());
    for (size_t i = 0; i < tensors->size(); ++i) {
      const TensorInfo& ours = (*tensors)[i];
      const TensorInfo& theirs = (*expected)[i];
      INFO(theirs.name);
      CHECK(ours.name == theirs.name);
      CHECK(ours.dtype == theirs.dtype);
      CHECK(ours.shape == theirs.shape);
      CHECK(Bytes(*file, ours) == Bytes(*expected_file, theirs));
    }
  }
}

TEST_CASE("a pickled module and a transposed tensor are refused") {
  const auto refusal = [](const char* name) {
    const auto file = Map(name);
    const absl::Status status = ParseTorchFile(file->bytes(), name).status();
    INFO(status);
    const auto detail = GetErrorDetail(status);
    REQUIRE(detail.has_value());
    return detail->code + " " + detail->message;
  };
  CHECK_THAT(refusal("refused_module.bin"),
             Catch::StartsWith("E0461") && Catch::Contains("torch.nn.modules.linear"));
  CHECK_THAT(refusal("refused_transposed.bin"), Catch::StartsWith("E0460") && Catch::Contains("row by row"));
}

}  // namespace
}  // namespace rung
