// The trial file (docs/trainer-messages.md): what one attempt has to do. Values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "worker/text/budget_scale.h"

namespace rung {

enum class AttemptKind { kTrain, kEvaluate };

struct TrialFile {
  AttemptKind kind = AttemptKind::kTrain;
  int64_t trial = 0;
  int rung = 0, replicate = 0, attempt = 0;
  int64_t seed = 0;
  std::optional<int> fold;
  nlohmann::json config, trainer;
  std::string metric;        // objective.metric
  bool maximize = true;      // objective.goal
  bool report_best = false;  // objective.report
  bool resume_on_promotion = true;
  BudgetScale::Unit unit = BudgetScale::Unit::kEpochs;
  double budget_to = 0, budget_max = 0;
  std::string checkpoint_dir, output_dir;
  std::optional<std::string> resume_dir;
  std::map<std::string, std::string> inputs;
  std::map<std::string, std::string> data_sha256;
};

// Errors: those of ReadFile; InvalidArgument (E0752: the key and what it should be).
absl::StatusOr<TrialFile> ReadTrialFile(const std::string& path);

}  // namespace rung
