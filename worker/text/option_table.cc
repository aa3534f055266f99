#include "worker/text/option_table.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/status.h"

namespace rung {
namespace {

using nlohmann::json;

constexpr double kMuch = 1e9;     // an upper end where nothing in the method sets one
constexpr size_t kLongest = 200;  // of a value, or of its place, in a message
constexpr int kMaxHeadLayers = 8;
constexpr int kMaxHeadSize = 1 << 16;

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
      {"head.type", &O::head_type, nullptr, 0, 0, false, {"default", "fc", "attention"}},
      Integer("head.layers", &O::head_layers, nullptr, 1, kMaxHeadLayers),
      Integer("head.size", &O::head_size, nullptr, 1, kMaxHeadSize),
      {"head.sizes", &O::head_sizes, nullptr, 0, 0, false, {}},
      {"head.pool", &O::head_pool, nullptr, 0, 0, false, {"cls", "mean", "max"}},
      {"head.activation", &O::head_activation, nullptr, 0, 0, false, {"relu", "gelu", "tanh"}},
      Integer("head.dim", &O::head_dim, nullptr, 1, 1 << 16),
      Integer("head.heads", &O::head_heads, nullptr, 1, 1 << 10),
      Integer("head.last_layers", &O::head_last_layers, nullptr, 1, 1 << 10),
      Real("head.dropout", &O::head_dropout, nullptr, 0, 0.99),
      Integer("freeze.layers", &O::freeze_layers, nullptr, 0, 1 << 16),
      {"freeze.embeddings", &O::freeze_embeddings, nullptr, 0, 0, false, {}},
      {"variant", &O::variant, nullptr, 0, 0, false, {"full", "evaluate", "lora"}},
      {"peft.method", &O::peft_method, nullptr, 0, 0, false, {"none", "lora"}},
      Integer("lora.r", &O::lora_r, nullptr, 1, 1 << 12),
      Positive("lora.alpha", &O::lora_alpha, nullptr),
      Real("lora.dropout", &O::lora_dropout, nullptr, 0, 0.99),
      {"lora.targets", &O::lora_targets, nullptr, 0, 0, false, {}},
      {"lora.rank_stabilised", &O::lora_rank_stabilised, nullptr, 0, 0, false, {}},
  };
}

std::string RangeText(const OptionRow& row) {
  const auto end = [](double value) {
    const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
    return whole ? absl::StrFormat("%d", static_cast<int64_t>(value)) : absl::StrFormat("%g", value);
  };
  return absl::StrFormat("%s from %s%s to %s", row.IsInteger() ? "an integer" : "a number",
                         row.low_is_open ? "above " : "", end(row.low), end(row.high));
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

// Names of linear layers, joined by commas.
absl::Status CheckTargets(const std::string& text, const json& value, const std::string& where) {
  const std::vector<std::string> parts = LinearParts();
  const std::vector<std::string> names = absl::StrSplit(text, ',');
  for (const std::string& name : names) {
    if (std::find(parts.begin(), parts.end(), name) != parts.end()) continue;
    return OptionError("E0442", where, value,
                       absl::StrFormat("names \"%s\", which is none of %s", name, absl::StrJoin(parts, ", ")),
                       "Join names of them by commas: \"query,value\"");
  }
  return absl::OkStatus();
}

// The numbers of "512,128"; empty if the text is anything else.
std::vector<int> WidthsOf(const std::string& text) {
  std::vector<int> widths;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int width = 0;
    if (!absl::SimpleAtoi(part, &width) || width < 1 || width > kMaxHeadSize) return {};
    widths.push_back(width);
  }
  return widths;
}

absl::Status CheckWidths(const std::string& text, const json& value, const std::string& where) {
  const size_t count = WidthsOf(text).size();
  if (count > 0 && count < size_t{kMaxHeadLayers}) return absl::OkStatus();
  return OptionError("E0442", where, value,
                     absl::StrFormat("is not 1 to %d widths from 1 to %d", kMaxHeadLayers - 1, kMaxHeadSize),
                     "Join the widths below the last layer by commas: \"512,128\"");
}

}  // namespace

ModelOptions ModelOptionsOf(const TextOptions& o) {
  ModelOptions options;
  options.task = o.task;
  options.dropout = o.hidden_dropout;
  options.precision = o.precision;
  static constexpr const char* kActivations[] = {"relu", "gelu", "tanh"};
  options.head = {o.head_type,
                  o.head_layers,
                  o.head_size,
                  o.head_pool,
                  kActivations[static_cast<size_t>(o.head_activation)],
                  o.head_dim,
                  o.head_heads,
                  o.head_dropout,
                  WidthsOf(o.head_sizes),
                  o.head_last_layers};
  options.frozen_layers = o.freeze_layers;
  options.frozen_embeddings = o.freeze_embeddings;
  options.peft = o.peft_method;
  options.lora = {o.lora_r, o.lora_alpha, o.lora_dropout, absl::StrSplit(o.lora_targets, ','),
                  o.lora_rank_stabilised};
  return options;
}

json HeadOptionsJson(const TextOptions& options) {
  json values = json::object();
  for (const OptionRow& row : OptionTable()) {
    if (!row.name.starts_with("head.")) continue;
    std::visit(
        [&](auto member) {
          using Value = std::remove_cvref_t<decltype(options.*member)>;
          if constexpr (std::is_enum_v<Value>) {
            values[row.name] = row.choices[static_cast<size_t>(options.*member)];
          } else {
            values[row.name] = options.*member;
          }
        },
        row.member);
  }
  if (options.head_size == 0) values.erase("head.size");
  if (options.head_sizes.empty()) values.erase("head.sizes");
  return values;
}

absl::StatusOr<ModelOptions> HeadOptionsFromJson(const json& options) {
  TextOptions text;
  for (const OptionRow& row : OptionTable()) {
    if (!row.name.starts_with("head.") || !options.is_object() || !options.contains(row.name)) continue;
    RUNG_RETURN_IF_ERROR(CheckOption(row, options[row.name], row.name));
    AssignOption(row, options[row.name], &text);
  }
  return ModelOptionsOf(text);
}

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
  if (row.IsFlag()) {
    return value.is_boolean()
               ? absl::OkStatus()
               : OptionError("E0441", where, value, "is not true or false", "Give true or false");
  }
  if (!value.is_string()) return OptionError("E0441", where, value, "is not a string", "Give a string");
  const std::string& text = value.get_ref<const std::string&>();
  if (row.name == "lora.targets") return CheckTargets(text, value, where);
  if (row.name == "head.sizes") return CheckWidths(text, value, where);
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
  const std::string shown = Shortened(value.dump(-1, ' ', false, json::error_handler_t::replace), kLongest);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {code, absl::StrFormat("%s = %s %s", Shortened(where, kLongest), shown, what), where, shown, mend});
}

}  // namespace rung
