#include "worker/text/option_table.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr double kMuch = 1e9;  // an upper end where nothing in the method sets one

OptionRow Integer(const char* name, int TextOptions::*member, json fallback, double low,
                  double high = kMuch) {
  return {name, member, std::move(fallback), low, high, false, {}};
}
OptionRow Real(const char* name, double TextOptions::*member, json fallback, double low,
               double high = kMuch) {
  return {name, member, std::move(fallback), low, high, false, {}};
}
OptionRow Positive(const char* name, double TextOptions::*member, json fallback, double high = kMuch) {
  return {name, member, std::move(fallback), 0, high, true, {}};
}

std::vector<OptionRow> MakeTable() {
  using O = TextOptions;
  return {
      {"model_name_or_path", &O::model_name_or_path, nullptr, 0, 0, false, {}},
      Integer("max_seq_length", &O::max_seq_length, 128, 4, 1 << 20),
      Integer("per_device_train_batch_size", &O::per_device_train_batch_size, 16, 1, 1 << 20),
      Integer("per_device_eval_batch_size", &O::per_device_eval_batch_size, 32, 1, 1 << 20),
      Integer("gradient_accumulation_steps", &O::gradient_accumulation_steps, 1, 1, 1 << 20),
      {"optimizer_name", &O::optimizer_name, "AdamW", 0, 0, false, {"Adam", "AdamW", "SGD", "RAdam"}},
      Positive("learning_rate", &O::learning_rate, 5e-5),
      Real("sgd_momentum", &O::sgd_momentum, 0.0, 0, 1),
      Real("adam_beta1", &O::adam_beta1, 0.9, 0, 0.9999999),
      Real("adam_beta2", &O::adam_beta2, 0.999, 0, 0.9999999),
      Positive("adam_epsilon", &O::adam_epsilon, 1e-8),
      Real("weight_decay", &O::weight_decay, 0.0, 0),
      Real("max_grad_norm", &O::max_grad_norm, 1.0, 0),
      {"scheduler_name",
       &O::scheduler_name,
       "linear_with_warmup",
       0,
       0,
       false,
       {"linear_with_warmup", "cosine_with_warmup", "cosine_with_hard_restarts_with_warmup",
        "polynomial_decay_with_warmup", "constant_with_warmup"}},
      Integer("warmup_steps", &O::warmup_steps, 0, 0),
      Positive("scheduler.cycles", &O::scheduler_cycles, 1.0),
      Positive("scheduler.power", &O::scheduler_power, 1.0),
      Real("dropout", &O::hidden_dropout, nullptr, 0, 0.99),
  };
}

std::string RangeText(const OptionRow& row) {
  return absl::StrFormat("%s from %s%g to %g", row.IsInteger() ? "an integer" : "a number",
                         row.low_is_open ? "above " : "", row.low, row.high);
}

absl::Status CheckNumber(const OptionRow& row, const json& value, const std::string& where) {
  const std::string range = RangeText(row);
  if (row.IsInteger() ? !value.is_number_integer() : !value.is_number()) {
    return OptionError("E0441", where, value,
                       absl::StrFormat("is not %s", row.IsInteger() ? "an integer" : "a number"),
                       "Give " + range);
  }
  const double number = value.get<double>();
  if (number < row.low || number > row.high || (row.low_is_open && number <= row.low)) {
    return OptionError("E0442", where, value, "is out of range", "Give " + range);
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<OptionRow>& OptionTable() {
  static const std::vector<OptionRow> kTable = MakeTable();
  return kTable;
}

const OptionRow* FindOption(const std::string& name) {
  for (const OptionRow& row : OptionTable()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::vector<std::string> OptionNames() {
  std::vector<std::string> names;
  for (const OptionRow& row : OptionTable()) names.push_back(row.name);
  return names;
}

absl::Status CheckOption(const OptionRow& row, const json& value, const std::string& where) {
  if (row.IsNumber()) return CheckNumber(row, value, where);
  if (!value.is_string()) return OptionError("E0441", where, value, "is not a string", "Give a string");
  const std::string& text = value.get_ref<const std::string&>();
  if (row.choices.empty()) {
    return text.empty() ? OptionError("E0442", where, value, "is empty", "Give a name or a path")
                        : absl::OkStatus();
  }
  if (std::find(row.choices.begin(), row.choices.end(), text) != row.choices.end()) return absl::OkStatus();
  const std::string close = ClosestName(text, row.choices);
  return OptionError("E0442", where, value,
                     absl::StrFormat("is none of %s", absl::StrJoin(row.choices, ", ")),
                     close.empty() ? "Take one of them" : absl::StrFormat("Did you mean \"%s\"?", close));
}

void AssignOption(const OptionRow& row, const json& value, TextOptions* options) {
  const auto place = [&](auto enumeration) {
    const std::string text = value.get<std::string>();
    const auto found = std::find(row.choices.begin(), row.choices.end(), text);
    RUNG_CHECK(found != row.choices.end(), "the value was checked");
    return static_cast<decltype(enumeration)>(found - row.choices.begin());
  };
  std::visit(
      [&](auto member) {
        using Value = std::remove_reference_t<decltype(options->*member)>;
        if constexpr (std::is_enum_v<Value>) {
          options->*member = place(Value{});
        } else {
          options->*member = value.get<Value>();
        }
      },
      row.member);
}

absl::Status OptionError(const std::string& code, const std::string& where, const json& value,
                         const std::string& what, const std::string& mend) {
  const std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {code, absl::StrFormat("%s = %s %s", where, shown, what), where, shown, mend});
}

}  // namespace rung
