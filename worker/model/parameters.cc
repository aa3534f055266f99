#include "worker/model/parameters.h"

#include <algorithm>

#include "base/check.h"

namespace rung {

Parameters::Parameters(std::vector<ParameterInfo> infos, const std::string& row_sparse_name,
                       torch::Device device)
    : infos_(std::move(infos)) {
  int64_t total = 0;
  for (ParameterInfo& info : infos_) {
    info.offset = total;
    info.size = 1;
    for (const int64_t extent : info.shape) info.size *= extent;
    total += info.size;
    // Query, key and value must touch each other to be read as one matrix.
    const bool joined =
        info.name.find(".query.") != std::string::npos || info.name.find(".key.") != std::string::npos;
    if (!joined) total = (total + 15) / 16 * 16;
  }
  const auto options = torch::TensorOptions().dtype(torch::kFloat32).device(device);
  weights_ = torch::zeros({total}, options);
  gradients_ = torch::zeros({total}, options);
  const ParameterInfo& table = Find(row_sparse_name);
  row_use_ = {table.offset, table.shape[0], table.shape[1], {}, {}, {}};
  row_use_.in_update.assign(static_cast<size_t>(table.shape[0]), 0);
  row_use_.ever.assign(static_cast<size_t>(table.shape[0]), 0);
}

const ParameterInfo& Parameters::Find(const std::string& name) const {
  const auto found =
      std::find_if(infos_.begin(), infos_.end(), [&](const auto& info) { return info.name == name; });
  RUNG_CHECK(found != infos_.end(), name.c_str());
  return *found;
}

static torch::Tensor ViewOf(const torch::Tensor& flat, int64_t offset, std::vector<int64_t> shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return flat.narrow(0, offset, size).view(shape);
}

torch::Tensor Parameters::WeightView(const std::string& name, std::vector<int64_t> shape) {
  return ViewOf(weights_, Find(name).offset, std::move(shape));
}

torch::Tensor Parameters::GradientView(const std::string& name, std::vector<int64_t> shape) {
  return ViewOf(gradients_, Find(name).offset, std::move(shape));
}

void Parameters::BeginUpdate() {
  if (!gradients_.is_cpu()) {
    gradients_.zero_();
    return;
  }
  float* gradients = gradients_.data_ptr<float>();
  for (const int64_t row : row_use_.update_rows) {
    std::fill_n(gradients + row_use_.offset + row * row_use_.width, row_use_.width, 0.0f);
    row_use_.in_update[static_cast<size_t>(row)] = 0;
  }
  row_use_.update_rows.clear();
  for (const ParameterInfo& info : infos_) {
    const bool matrix = info.shape.size() == 2 && info.name.find("embeddings.") == std::string::npos;
    const bool table = info.offset == row_use_.offset;
    if (!matrix && !table) std::fill_n(gradients + info.offset, info.size, 0.0f);
  }
}

void Parameters::UseRows(const std::vector<int64_t>& ids) {
  for (const int64_t id : ids) {
    uint8_t& used = row_use_.in_update[static_cast<size_t>(id)];
    if (used != 0) continue;
    used = 1;
    row_use_.ever[static_cast<size_t>(id)] = 1;
    row_use_.update_rows.push_back(id);
  }
}

}  // namespace rung
