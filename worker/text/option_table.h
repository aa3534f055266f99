// The table of trainer.options: what trainer "text_classification" reads, each row with its type, range,
// default and place in TextOptions. Internal to worker/text. Thread-safe: constant.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "worker/text/trainer_options.h"

namespace rung {

inline constexpr int kTrainerVersion =
    1;  // part of a result's identity: raise it when the same options give other weights

struct OptionRow {
  using Member = std::variant<int TextOptions::*, double TextOptions::*, std::string TextOptions::*,
                              Optimizer TextOptions::*, Schedule TextOptions::*, bool TextOptions::*,
                              HeadType TextOptions::*, HeadPool TextOptions::*, HeadActivation TextOptions::*,
                              PeftMethod TextOptions::*, Variant TextOptions::*>;
  std::string name;
  Member member;
  nlohmann::json fallback;           // null: no default is filled in
  double low = 0, high = 0;          // numbers
  bool low_is_open = false;          // low itself is not allowed
  std::vector<std::string> choices;  // names, in the order of the enum

  bool IsNumber() const { return member.index() <= 1; }
  bool IsInteger() const { return member.index() == 0; }
  bool IsFlag() const { return std::holds_alternative<bool TextOptions::*>(member); }
};

const std::vector<OptionRow>& OptionTable();
const OptionRow* FindOption(const std::string& name);
std::vector<std::string> OptionNames();

// Type and range of a value for the row. `where` is "trainer.options.NAME" or "space.NAME". Errors: E0441,
// E0442.
absl::Status CheckOption(const OptionRow& row, const nlohmann::json& value, const std::string& where);

// Puts a checked value into its member.
void AssignOption(const OptionRow& row, const nlohmann::json& value, TextOptions* options);

// InvalidArgument; the message begins with where = value.
absl::Status OptionError(const std::string& code, const std::string& where, const nlohmann::json& value,
                         const std::string& what, const std::string& mend);

}  // namespace rung
