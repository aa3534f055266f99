#include "worker/device.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr int64_t kMaxBytes = 16 * 1024;

// Models of the GPUs in bus order, which is what CUDA_DEVICE_ORDER=PCI_BUS_ID counts by.
std::vector<std::string> Gpus(const std::string& driver_directory) {
  std::vector<std::string> buses;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(driver_directory, error)) {
    buses.push_back(entry.path().string());
  }
  std::sort(buses.begin(), buses.end());
  std::vector<std::string> models;
  for (const std::string& bus : buses) {
    std::string model = "GPU";
    const absl::StatusOr<std::string> text = ReadFile(bus + "/information", kMaxBytes);
    const std::vector<std::string> lines = absl::StrSplit(text.ok() ? *text : "", '\n');
    for (const std::string& line : lines) {
      if (line.rfind("Model:", 0) == 0) model = std::string(absl::StripAsciiWhitespace(line.substr(6)));
    }
    models.push_back(model);
  }
  return models;
}

Device Automatic(const std::vector<std::string>& gpus, const std::optional<std::string>& visible) {
  if (gpus.empty() || (visible && (visible->empty() || visible->front() == '-'))) return {"cpu", {}};
  const std::string first = visible ? visible->substr(0, visible->find(',')) : "0";
  size_t index = 0;
  const bool known = absl::SimpleAtoi(first, &index) && index < gpus.size();
  return {"cuda:" + first + (known ? " " + gpus[index] : ""), {}};
}

}  // namespace

absl::StatusOr<Device> ChooseDevice(const std::string& wanted, const std::optional<std::string>& visible,
                                    const std::string& driver_directory) {
  if (wanted == "cpu") return Device{"cpu", {"CUDA_VISIBLE_DEVICES="}};
  const std::vector<std::string> gpus = Gpus(driver_directory);
  if (wanted == "auto") return Automatic(gpus, visible);
  size_t index = 0;
  const bool numbered = wanted.rfind("cuda:", 0) == 0 && absl::SimpleAtoi(wanted.substr(5), &index);
  if (wanted != "cuda" && !numbered) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0130", absl::StrFormat("%s is not a device", wanted), "--device", wanted,
                      "Use auto, cpu, cuda or cuda:N"});
  }
  if (index >= gpus.size()) {
    return MakeError(absl::StatusCode::kNotFound,
                     {"E0702", absl::StrFormat("there is no GPU %d here, %d are visible", index, gpus.size()),
                      "--device", wanted, "Use a smaller number, or --device cpu"});
  }
  return Device{absl::StrFormat("cuda:%d %s", index, gpus[index]),
                {absl::StrFormat("CUDA_VISIBLE_DEVICES=%d", index), "CUDA_DEVICE_ORDER=PCI_BUS_ID"}};
}

}  // namespace rung
