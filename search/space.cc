#include "search/space.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
#include "search/json_position.h"
#include "search/json_reader.h"

namespace rung {
namespace {

absl::Status ConfigError(const char* code, const std::string& name, const std::string& message,
                         const std::string& value, const std::string& mend) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {code, message, "#/" + PointerToken(name), value, mend});
}

}  // namespace

const Parameter* Space::Find(const std::string& name) const {
  for (const Parameter& parameter : parameters_) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

int Space::Dimension() const {
  return static_cast<int>(
      std::count_if(parameters_.begin(), parameters_.end(),
                    [](const Parameter& parameter) { return parameter.Cardinality().value_or(2) >= 2; }));
}

bool Space::Finite() const {
  return std::all_of(parameters_.begin(), parameters_.end(),
                     [](const Parameter& parameter) { return parameter.Cardinality().has_value(); });
}

bool Space::Active(const Parameter& parameter, const Config& config) const {
  return !parameter.condition.has_value() || parameter.condition->Holds(config);
}

Config Space::Default() const {
  Config config;
  for (const Parameter& parameter : parameters_) {
    if (Active(parameter, config)) config[parameter.name] = parameter.default_value;
  }
  return config;
}

Config Space::Sample(Rng& rng) const {
  for (int attempt = 0; attempt < kMaxRejections; ++attempt) {
    Config config = Completed({}, rng);
    if (!Forbidden(config)) return config;
  }
  return Default();  // allowed, and less likely than 1e-43: CheckLegal
}

bool Space::Forbidden(const Config& config) const {
  return std::any_of(forbidden_.begin(), forbidden_.end(),
                     [&](const Condition& clause) { return clause.Holds(config); });
}

Config Space::Completed(Config config, Rng& rng) const {
  Config completed;
  for (const Parameter& parameter : parameters_) {
    if (!Active(parameter, completed)) continue;
    const auto given = config.find(parameter.name);
    completed[parameter.name] = given != config.end() ? std::move(given->second) : parameter.Draw(rng);
  }
  return completed;
}

Config Space::Typed(Config config) const {
  for (auto& [name, value] : config) {
    if (const Parameter* parameter = Find(name)) value = parameter->Typed(std::move(value));
  }
  return config;
}

absl::Status Space::Validate(const Config& config) const {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters_) names.push_back(parameter.name);
  for (const auto& [name, value] : config) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const std::string closest = ClosestName(name, names);
    return ConfigError("E0231", name, absl::StrFormat("%s is no parameter of the space", Shortened(name)),
                       Shortened(name), closest.empty() ? "Leave it out" : "Did you mean " + closest);
  }
  for (const Parameter& parameter : parameters_) {
    const auto found = config.find(parameter.name);
    if (!Active(parameter, config)) {
      if (found == config.end()) continue;
      return ConfigError("E0232", parameter.name,
                         absl::StrFormat("%s is inactive here: its condition \"%s\" does not hold",
                                         parameter.name, Shortened(parameter.condition->text())),
                         Shortened(Text(found->second)), "Leave it out");
    }
    if (found == config.end()) {
      return MakeError(
          absl::StatusCode::kInvalidArgument,
          {"E0232", absl::StrFormat("%s is missing", parameter.name), "#", parameter.name,
           absl::StrFormat("Add \"%s\": %s", parameter.name, Shown(rung::ToJson(parameter.default_value)))});
    }
    if (!parameter.Contains(found->second)) {
      return ConfigError(
          "E0233", parameter.name,
          absl::StrFormat("%s = %s is outside the space", parameter.name, Shown(rung::ToJson(found->second))),
          Shortened(Text(found->second)), parameter.AllowedText());
    }
  }
  for (const Condition& clause : forbidden_) {
    if (!clause.Holds(config)) continue;
    return MakeError(absl::StatusCode::kInvalidArgument,
                     {"E0234", absl::StrFormat("the config is forbidden by \"%s\"", Shortened(clause.text())),
                      "#", CanonicalJson(config), "Change one of its values, or the clause"});
  }
  return absl::OkStatus();
}

namespace {

// What clauses may cut off a grid, one prefix of configs at a time: they may forbid all points of a huge part
// of the space, each only at its end. About a second.
constexpr int64_t kMaxGridCuts = 2'000'000;

int64_t GridValues(const Parameter& parameter, int levels) {
  return parameter.Cardinality().value_or(levels);
}

Value GridValue(const Parameter& parameter, int levels, int64_t index) {
  const std::optional<int64_t> count = parameter.Cardinality();
  if (!count.has_value())
    return parameter.FromUnit(levels == 1 ? 0.5 : static_cast<double>(index) / (levels - 1));
  if (parameter.kind == ParameterKind::kInt && parameter.log)
    return static_cast<int64_t>(parameter.low) + index;
  return parameter.FromUnit((static_cast<double>(index) + 0.5) / static_cast<double>(*count));
}

}  // namespace

// Empty if it would be found only past kMaxGridCuts: to be treated like a grid that is too large.
std::vector<Config> Space::Grid(int levels, size_t limit) const {
  RUNG_CHECK(levels >= 1, "at least one value per parameter");
  // A clause is decided with the last of its parameters: what it forbids there, nothing behind it allows.
  std::vector<std::vector<const Condition*>> decided(parameters_.size());
  for (const Condition& clause : forbidden_) {
    size_t last = 0;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (clause.parameters().contains(parameters_[i].name)) last = i;
    }
    decided[last].push_back(&clause);
  }
  // Depth first over the parameters: what is inactive contributes one branch.
  std::vector<Config> grid;
  int64_t cuts = 0;
  const auto full = [&] { return grid.size() >= limit || cuts > kMaxGridCuts; };
  const std::function<void(size_t, Config&)> walk = [&](size_t index, Config& config) {
    if (full()) return;
    if (index > 0 && std::any_of(decided[index - 1].begin(), decided[index - 1].end(),
                                 [&](const Condition* clause) { return clause->Holds(config); })) {
      ++cuts;
      return;
    }
    if (index == parameters_.size()) {
      grid.push_back(config);
      return;
    }
    const Parameter& parameter = parameters_[index];
    if (!Active(parameter, config)) return walk(index + 1, config);
    const int64_t values = GridValues(parameter, levels);
    for (int64_t i = 0; i < values && !full(); ++i) {
      config[parameter.name] = GridValue(parameter, levels, i);
      walk(index + 1, config);
    }
    config.erase(parameter.name);
  };
  Config config;
  walk(0, config);
  if (cuts > kMaxGridCuts) grid.clear();
  return grid;
}

}  // namespace rung
