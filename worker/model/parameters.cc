#include "worker/model/parameters.h"

#include <algorithm>

#include "base/check.h"

namespace rung {

// With narrower ones oneDNN rounds only from some number of rows on (3 by 128 x 128, 2 by 256 x 1024; seen in
// torch 2.13): a prediction would depend on its batch. The layer to the labels and adapters gain nothing
// anyway.
constexpr int64_t kRoundedSide = 300;

Parameters::Parameters(std::vector<ParameterInfo> infos, const std::string& row_sparse_name,
                       torch::Device device)
    : infos_(std::move(infos)) {
  int64_t total = 0;
  for (ParameterInfo& info : infos_) {
    info.offset = total;
    info.size = 1;
    for (const int64_t extent : info.shape) info.size *= extent;
    total += info.size;
    if (!info.joins_next) total = (total + 15) / 16 * 16;
  }
  stale_.assign(infos_.size(), 1);
  const auto options = torch::TensorOptions().dtype(torch::kFloat32).device(device);
  weights_ = torch::zeros({total}, options);
  gradients_ = torch::zeros({total}, options);
  const ParameterInfo& table = Find(row_sparse_name);
  row_use_ = {table.offset, table.shape[0], table.shape[1], {}, {}, {}};
  word_table_trained_ = table.trained;
  for (size_t i = 0; i < infos_.size(); ++i) {
    if (!infos_[i].trained || infos_[i].offset == table.offset) continue;
    // Up to the next parameter: what lies between is zero.
    const int64_t end = i + 1 < infos_.size() ? infos_[i + 1].offset : total;
    if (!trained_.empty() && trained_.back().offset + trained_.back().size == infos_[i].offset) {
      trained_.back().size = end - trained_.back().offset;
    } else {
      trained_.push_back({infos_[i].offset, end - infos_[i].offset});
    }
  }
  row_use_.in_update.assign(static_cast<size_t>(table.shape[0]), 0);
  row_use_.ever.assign(static_cast<size_t>(table.shape[0]), 0);
}

bool Parameters::Has(const std::string& name) const {
  return std::any_of(infos_.begin(), infos_.end(), [&](const auto& info) { return info.name == name; });
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

WeightSlot Parameters::Slot(const std::string& name, int parts) {
  const ParameterInfo& first = Find(name);
  std::vector<int64_t> shape = first.shape;
  for (int i = 1; i < parts; ++i) {
    RUNG_CHECK((&first)[i - 1].joins_next, name.c_str());
    shape[0] += (&first)[i].shape[0];
  }
  uint8_t* stale = stale_.data() + (&first - infos_.data());
  const bool matrix = first.kind == TensorKind::kMatrix;
  const bool large = matrix && std::min(shape[0], shape[1]) >= kRoundedSide;
  return {WeightView(name, shape),
          GradientView(name, shape),
          first.trained,
          matrix ? stale : nullptr,
          parts,
          large ? rounding_ : Rounding::kNone};
}

bool WeightSlot::TakeStale() const {
  if (stale == nullptr) return false;
  const auto old = std::count(stale, stale + parts, 1);
  if (old == 0) return false;
  // Some of the parts were used alone: the others must not keep what they have.
  if (old < parts) {
    const int64_t rows = gradient.size(0) / parts;
    for (int i = 0; i < parts; ++i) {
      if (stale[i] != 0) gradient.narrow(0, i * rows, rows).zero_();
    }
  }
  std::fill(stale, stale + parts, uint8_t{0});
  return old == parts;
}

void Parameters::SettleGradients() {
  for (size_t i = 0; i < infos_.size(); ++i) {
    if (stale_[i] == 0 || !infos_[i].trained || infos_[i].kind != TensorKind::kMatrix) continue;
    gradients_.narrow(0, infos_[i].offset, infos_[i].size).zero_();
    stale_[i] = 0;
  }
}

void Parameters::BeginUpdate() {
  std::fill(stale_.begin(), stale_.end(), uint8_t{1});
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
    const bool word_table = info.offset == row_use_.offset;
    if (info.kind != TensorKind::kMatrix && !word_table)
      std::fill_n(gradients + info.offset, info.size, 0.0f);
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
