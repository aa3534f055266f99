#include "worker/training/snapshot.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "worker/model/parameters.h"
#include "worker/text/model_directory.h"

namespace rung {
namespace {

constexpr int64_t kFloatBytes = sizeof(float);

absl::StatusOr<const char*> BytesOf(const SafetensorsFile& file, const std::string& name,
                                    const std::string& dtype, int64_t bytes) {
  const TensorInfo* tensor = file.Find(name);
  if (tensor != nullptr && tensor->dtype == dtype && tensor->end - tensor->begin == bytes)
    return file.data(*tensor);
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {.code = "E0755",
                    .message = "a checkpoint does not fit the model: a tensor is missing or has another size",
                    .where = file.path(),
                    .value = name,
                    .mend = "Remove the checkpoint; training starts anew"});
}

}  // namespace

Snapshot::Snapshot(Parameters& parameters, const WeightUpdater* updater) {
  const torch::Tensor host = parameters.weights().to(torch::kCPU);
  floats_.emplace_back(host.data_ptr<float>(), host.data_ptr<float>() + host.numel());
  for (const ParameterInfo& info : parameters.infos()) {
    model_.push_back(
        {info.stored, "F32", info.shape, floats_[0].data() + info.offset, info.size * kFloatBytes});
  }
  if (updater == nullptr) return;
  const OptimizerState state = updater->state();
  const RowUse& use = parameters.row_use();
  for (int64_t row = 0; row < use.rows; ++row) {
    const auto nonzero = [&](const std::vector<float>& flat) {
      if (flat.empty()) return false;
      const float* begin = flat.data() + use.offset + row * use.width;
      return std::any_of(begin, begin + use.width, [](float value) { return value != 0; });
    };
    if (nonzero(state.first) || nonzero(state.second)) rows_.push_back(row);
  }
  const int64_t count = static_cast<int64_t>(rows_.size());
  optimizer_.push_back({"rows", "I64", {count}, rows_.data(), count * static_cast<int64_t>(sizeof(int64_t))});
  AddMoments("first", state.first, parameters);
  AddMoments("second", state.second, parameters);
}

void Snapshot::AddMoments(const std::string& name, const std::vector<float>& flat,
                          const Parameters& parameters) {
  if (flat.empty()) return;
  const RowUse& use = const_cast<Parameters&>(parameters).row_use();
  std::vector<float> table;
  table.reserve(rows_.size() * static_cast<size_t>(use.width));
  for (const int64_t row : rows_) {
    const float* begin = flat.data() + use.offset + row * use.width;
    table.insert(table.end(), begin, begin + use.width);
  }
  std::vector<float> rest(flat.begin(), flat.begin() + use.offset);
  rest.insert(rest.end(), flat.begin() + use.offset + use.rows * use.width, flat.end());
  for (auto [suffix, values] : {std::pair{".table", &table}, std::pair{".rest", &rest}}) {
    const int64_t size = static_cast<int64_t>(values->size());
    floats_.push_back(std::move(*values));
    optimizer_.push_back({name + suffix, "F32", {size}, floats_.back().data(), size * kFloatBytes});
  }
}

static absl::Status RestoreMoments(const SafetensorsFile& file, const std::string& name,
                                   const std::vector<int64_t>& rows, const RowUse& use,
                                   std::vector<float>& flat) {
  if (flat.empty()) return absl::OkStatus();
  const int64_t table_size = static_cast<int64_t>(rows.size()) * use.width;
  const int64_t table_end = use.offset + use.rows * use.width;
  const int64_t rest_size = static_cast<int64_t>(flat.size()) - use.rows * use.width;
  RUNG_ASSIGN_OR_RETURN(const char* const table,
                        BytesOf(file, name + ".table", "F32", table_size * kFloatBytes));
  RUNG_ASSIGN_OR_RETURN(const char* const rest,
                        BytesOf(file, name + ".rest", "F32", rest_size * kFloatBytes));
  std::fill(flat.begin(), flat.end(), 0.0f);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(flat.data() + use.offset + rows[i] * use.width,
                table + static_cast<int64_t>(i) * use.width * kFloatBytes,
                static_cast<size_t>(use.width * kFloatBytes));
  }
  std::memcpy(flat.data(), rest, static_cast<size_t>(use.offset * kFloatBytes));
  std::memcpy(flat.data() + table_end, rest + use.offset * kFloatBytes,
              static_cast<size_t>((rest_size - use.offset) * kFloatBytes));
  return absl::OkStatus();
}

static absl::StatusOr<std::vector<int64_t>> ReadRows(const SafetensorsFile& file, int64_t rows_of_table) {
  const TensorInfo* tensor = file.Find("rows");
  const int64_t bytes = tensor == nullptr ? -1 : tensor->end - tensor->begin;
  RUNG_ASSIGN_OR_RETURN(const char* const data, BytesOf(file, "rows", "I64", bytes));
  std::vector<int64_t> rows(static_cast<size_t>(bytes) / sizeof(int64_t));
  std::memcpy(rows.data(), data, static_cast<size_t>(bytes));
  for (const int64_t row : rows) {
    if (row < 0 || row >= rows_of_table)
      return BytesOf(file, "rows", "row numbers inside the table", -1).status();
  }
  return rows;
}

absl::Status RestoreSnapshot(const std::string& checkpoint, Parameters& parameters, WeightUpdater* updater) {
  RUNG_ASSIGN_OR_RETURN(const auto model, SafetensorsFile::Open(checkpoint + "/model.safetensors"));
  torch::Tensor host = torch::zeros(parameters.weights().sizes());
  for (const ParameterInfo& info : parameters.infos()) {
    RUNG_ASSIGN_OR_RETURN(const char* const data,
                          BytesOf(*model, info.stored, "F32", info.size * kFloatBytes));
    std::memcpy(host.data_ptr<float>() + info.offset, data, static_cast<size_t>(info.size * kFloatBytes));
  }
  parameters.weights().copy_(host);
  if (updater == nullptr) return absl::OkStatus();
  RUNG_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(checkpoint + "/optimizer.safetensors"));
  RUNG_ASSIGN_OR_RETURN(const nlohmann::json state_json, ReadCheckpointState(checkpoint));
  OptimizerState state = updater->state();
  state.updates = state_json.value("updates", int64_t{0});
  const RowUse& use = parameters.row_use();
  RUNG_ASSIGN_OR_RETURN(const std::vector<int64_t> rows, ReadRows(*file, use.rows));
  RUNG_RETURN_IF_ERROR(RestoreMoments(*file, "first", rows, use, state.first));
  RUNG_RETURN_IF_ERROR(RestoreMoments(*file, "second", rows, use, state.second));
  updater->Restore(state);
  return absl::OkStatus();
}

}  // namespace rung
