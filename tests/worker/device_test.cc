#include "worker/device.h"

#include <filesystem>

#include <catch2/catch.hpp>

#include "base/file.h"
#include "base/status.h"
#include "tests/scratch.h"

namespace rung {
namespace {

// What NVIDIA's driver tells of two GPUs, in the order of their buses.
std::string TwoGpus(const Scratch& scratch) {
  for (const auto& [bus, model] :
       {std::pair("0000:41:00.0", "NVIDIA H100"), {"0000:01:00.0", "NVIDIA A100"}}) {
    const std::string directory = scratch.path(std::string("gpus/") + bus);
    std::filesystem::create_directories(directory);
    REQUIRE(
        WriteFileAtomic(directory + "/information", std::string("Model: \t\t ") + model + "\nIRQ: 1\n").ok());
  }
  return scratch.path("gpus");
}

}  // namespace

TEST_CASE("a worker that is told nothing takes the first GPU that it sees") {
  const Scratch scratch;
  const std::string gpus = TwoGpus(scratch);
  CHECK(ChooseDevice("auto", std::nullopt, gpus)->description == "cuda:0 NVIDIA A100");
  CHECK(ChooseDevice("auto", "1,0", gpus)->description == "cuda:1 NVIDIA H100");
  CHECK(ChooseDevice("auto", "GPU-5a1c", gpus)->description == "cuda:GPU-5a1c");
  CHECK(ChooseDevice("auto", "1", gpus)->environment.empty());  // its own is right
  for (const char* none : {"", "-1"}) CHECK(ChooseDevice("auto", none, gpus)->description == "cpu");
  CHECK(ChooseDevice("auto", std::nullopt, scratch.path("no-driver"))->description == "cpu");
}

TEST_CASE("a worker's trainers see the device that it was told, and no other") {
  const Scratch scratch;
  const std::string gpus = TwoGpus(scratch);
  CHECK(ChooseDevice("cpu", "0", gpus)->environment == std::vector<std::string>{"CUDA_VISIBLE_DEVICES="});
  const auto second = ChooseDevice("cuda:1", std::nullopt, gpus);
  CHECK(second->description == "cuda:1 NVIDIA H100");
  CHECK(second->environment ==
        std::vector<std::string>{"CUDA_VISIBLE_DEVICES=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID"});
  CHECK(ChooseDevice("cuda", std::nullopt, gpus)->description == "cuda:0 NVIDIA A100");
  const auto absent = GetErrorDetail(ChooseDevice("cuda:2", std::nullopt, gpus).status());
  CHECK(absent->code == "E0702");
  CHECK(absent->message == "there is no GPU 2 here, 2 are visible");
  CHECK(GetErrorDetail(ChooseDevice("tpu", std::nullopt, gpus).status())->code == "E0130");
}

}  // namespace rung
