// Which device this worker's trainers use. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace rung {

struct Device {
  std::string description;               // for people: "cpu", "cuda:0 NVIDIA A100"
  std::vector<std::string> environment;  // CUDA_VISIBLE_DEVICES=... for trainers; empty: as the worker's
};

// wanted: auto | cpu | cuda | cuda:N. visible: CUDA_VISIBLE_DEVICES, where it is set. `driver_directory` is
// /proc/driver/nvidia/gpus. Errors: InvalidArgument (E0130), NotFound (E0702: the GPU is not there).
absl::StatusOr<Device> ChooseDevice(const std::string& wanted, const std::optional<std::string>& visible,
                                    const std::string& driver_directory);

}  // namespace rung
