#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "search/json_position.h"
#include "search/json_reader.h"
#include "search/space.h"

namespace rung {
namespace {

double Number(const Value& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  const auto* real = std::get_if<double>(&value);
  RUNG_CHECK(real != nullptr, "a number");
  return *real;
}

bool SameValue(const Value& a, const Value& b) {
  const bool numbers = !std::holds_alternative<std::string>(a) && !std::holds_alternative<bool>(a) &&
                       !std::holds_alternative<std::string>(b) && !std::holds_alternative<bool>(b);
  return numbers ? Number(a) == Number(b) : a == b;
}

int64_t Place(double unit, int64_t count) {
  const double place = std::floor(unit * static_cast<double>(count));
  return static_cast<int64_t>(std::clamp(place, 0.0, static_cast<double>(count - 1)));
}

bool IsRange(const Parameter& parameter) {
  return parameter.kind == ParameterKind::kFloat || parameter.kind == ParameterKind::kInt;
}

}  // namespace

std::optional<int64_t> Parameter::Cardinality() const {
  if (!IsRange(*this)) return static_cast<int64_t>(choices.size());
  if (kind == ParameterKind::kFloat && !step.has_value()) return std::nullopt;
  // 1e-9: (0.3 - 0) / 0.1 is 2.9999999999999996.
  return static_cast<int64_t>(std::floor((high - low) / step.value_or(1) + 1e-9)) + 1;
}

std::optional<size_t> Parameter::ChoiceIndex(const Value& value) const {
  for (size_t i = 0; i < choices.size(); ++i) {
    if (SameValue(choices[i], value)) return i;
  }
  return std::nullopt;
}

double Parameter::ToUnit(const Value& value) const {
  if (!IsRange(*this)) {
    const std::optional<size_t> index = ChoiceIndex(value);
    RUNG_CHECK(index.has_value(), "a value of the parameter");
    return (static_cast<double>(*index) + 0.5) / static_cast<double>(choices.size());
  }
  const double number = Number(value);
  if (log) {
    const double half = kind == ParameterKind::kInt ? 0.5 : 0;
    const double bottom = std::log(low - half);
    return (std::log(number) - bottom) / (std::log(high + half) - bottom);
  }
  if (const std::optional<int64_t> count = Cardinality()) {
    return (std::round((number - low) / step.value_or(1)) + 0.5) / static_cast<double>(*count);
  }
  return (number - low) / (high - low);
}

Value Parameter::FromUnit(double unit) const {
  if (!IsRange(*this)) return choices[static_cast<size_t>(Place(unit, static_cast<int64_t>(choices.size())))];
  if (log) {
    const double half = kind == ParameterKind::kInt ? 0.5 : 0;
    const double bottom = std::log(low - half);
    const double number = std::exp(bottom + unit * (std::log(high + half) - bottom));
    if (kind == ParameterKind::kFloat) return std::clamp(number, low, high);
    return static_cast<int64_t>(std::clamp(std::round(number), low, high));
  }
  if (const std::optional<int64_t> count = Cardinality()) {
    const double number = low + static_cast<double>(Place(unit, *count)) * step.value_or(1);
    if (kind == ParameterKind::kInt) return static_cast<int64_t>(std::llround(number));
    return std::min(number, high);
  }
  return std::clamp(low + unit * (high - low), low, high);
}

bool Parameter::Contains(const Value& value) const {
  switch (kind) {
    case ParameterKind::kInt: {
      const auto* integer = std::get_if<int64_t>(&value);
      if (integer == nullptr) return false;
      const auto number = static_cast<double>(*integer);
      const double steps = (number - low) / step.value_or(1);
      return number >= low && number <= high && std::abs(steps - std::round(steps)) < 1e-9;
    }
    case ParameterKind::kFloat: {
      const auto* real = std::get_if<double>(&value);
      if (real == nullptr || !(*real >= low && *real <= high)) return false;
      if (!step.has_value()) return true;
      const double steps = (*real - low) / *step;
      return std::abs(steps - std::round(steps)) < 1e-6;
    }
    case ParameterKind::kCategorical:
    case ParameterKind::kOrdinal:
    case ParameterKind::kConstant:
      return ChoiceIndex(value).has_value();
  }
  return false;
}

std::string Parameter::AllowedText() const {
  if (choices.empty()) {
    const bool integer = kind == ParameterKind::kInt;
    const std::string steps = step.has_value() ? absl::StrFormat(" in steps of %g", *step) : "";
    return absl::StrFormat("Use %s from %.10g to %.10g%s", integer ? "an integer" : "a number", low, high,
                           steps);
  }
  std::string text = "Use one of: ";
  for (size_t i = 0; i < choices.size() && i < 12; ++i) {
    text += (i == 0 ? "" : ", ") + Shortened(Text(choices[i]));
  }
  return text + (choices.size() > 12 ? ", ..." : "");
}

Value Parameter::Typed(Value value) const {
  if (const std::optional<size_t> index = ChoiceIndex(value)) return choices[*index];
  if (const auto* integer = std::get_if<int64_t>(&value);
      integer != nullptr && kind == ParameterKind::kFloat) {
    return static_cast<double>(*integer);
  }
  if (const auto* real = std::get_if<double>(&value); real != nullptr && kind == ParameterKind::kInt &&
                                                      *real == std::round(*real) && std::abs(*real) < 9e15) {
    return static_cast<int64_t>(*real);
  }
  return value;
}

namespace {

size_t DrawnChoice(const std::vector<double>& weights, Rng& rng) {
  double total = 0;
  for (const double weight : weights) total += weight;
  double left = rng.Uniform() * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return i;
  }
  // Rounding ate the last share: the last choice that can be drawn.
  size_t last = weights.size() - 1;
  while (last > 0 && weights[last] <= 0) --last;
  return last;
}

}  // namespace

Value Parameter::Draw(Rng& rng) const {
  if (kind == ParameterKind::kConstant) return choices.front();
  if (!weights.empty()) return choices[DrawnChoice(weights, rng)];
  if (beta_prior.has_value()) return FromUnit(rng.Beta(beta_prior->first, beta_prior->second));
  if (lognormal_prior.has_value()) {
    const auto [mean, sd] = *lognormal_prior;
    const double number = std::exp(rng.TruncatedNormal(mean, sd, std::log(low), std::log(high)));
    return FromUnit((number - low) / (high - low));
  }
  if (!normal_prior.has_value()) return FromUnit(rng.Uniform());
  const double bottom = log ? std::log(low) : low;
  const double top = log ? std::log(high) : high;
  const double number = rng.TruncatedNormal(normal_prior->first, normal_prior->second, bottom, top);
  return FromUnit((number - bottom) / (top - bottom));
}

std::string Text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return ToJson(value).dump();
}

nlohmann::json ToJson(const Value& value) {
  return std::visit([](const auto& held) { return nlohmann::json(held); }, value);
}

nlohmann::json ToJson(const Config& config) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : config) json[name] = ToJson(value);
  return json;
}

absl::StatusOr<Config> ConfigFromJson(const nlohmann::json& json) {
  if (!json.is_object()) {
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0230", "a config must be an object, not " + Shown(json), "#", Shown(json),
                      "Write {\"PARAMETER\": value, ...}"});
  }
  Config config;
  for (const auto& [name, value] : json.items()) {
    if (value.is_boolean()) {
      config[name] = value.get<bool>();
    } else if (value.is_number_float()) {
      config[name] = value.get<double>();
    } else if (value.is_number_unsigned() && value.get<uint64_t>() > (uint64_t{1} << 62)) {
      config[name] = value.get<double>();
    } else if (value.is_number_integer()) {
      config[name] = value.get<int64_t>();
    } else if (value.is_string()) {
      config[name] = value.get<std::string>();
    } else {
      return MakeError(absl::StatusCode::kInvalidArgument,
                       {"E0230", absl::StrFormat("%s = %s is no value of a parameter", name, Shown(value)),
                        "#/" + PointerToken(name), Shown(value), "Write a string, a number, true or false"});
    }
  }
  return config;
}

std::string CanonicalJson(const Config& config) {
  return ToJson(config).dump();
}

}  // namespace rung
