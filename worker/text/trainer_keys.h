// The keys of `trainer` itself and of data descriptions, each with its check and default; trainer.options has
// a table of its own (option_table.h). Internal to worker/text. Thread-safe: functions only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "worker/text/model_options.h"
#include "worker/text/task.h"

namespace rung {

struct TrainerKey {
  using Check = std::function<absl::Status(const nlohmann::json& value, const std::string& where)>;
  std::string name;
  nlohmann::json fallback;  // null: no default is filled in
  Check check;
};

// Of a data description, and of `trainer` where it has no `data`.
std::vector<TrainerKey> DataKeys();
std::vector<TrainerKey> TextClassificationKeys();  // but for those of the data
std::vector<TrainerKey> CommandKeys();

// One of trainer "text_classification", those of the data too.
bool IsTrainerKey(const std::string& name);

// What to write instead of a name that no option has: the option that Hugging Face's Trainer or another tool
// calls so, or whose name is near; else all there are.
std::string MendOfUnknownOption(const std::string& name);

// Every key known and valid; defaults filled in. `prefix` is "trainer." or that of a data description.
// Errors: InvalidArgument (E0440, E0441, E0442).
absl::Status CheckKeys(const std::vector<TrainerKey>& keys, const std::string& prefix,
                       nlohmann::json* object);

// Label columns as the task wants them. Errors: InvalidArgument (E0441, E0442).
absl::Status CheckLabels(const nlohmann::json& object, Task task, const std::string& prefix);

// A text that is not empty. Errors: InvalidArgument (E0441, E0442).
absl::Status CheckText(const nlohmann::json& value, const std::string& where);

// InvalidArgument (E0445).
absl::Status MissingKey(const std::string& where, const std::string& mend);

// "auto", "fp32" or "bf16".
std::optional<Precision> PrecisionOf(const std::string& name);

// Seconds as a number, or a duration like "5m".
std::optional<double> SecondsOf(const nlohmann::json& value);

}  // namespace rung
