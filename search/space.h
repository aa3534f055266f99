// A search space: parameters, the conditions that make them active, forbidden clauses, a default config.
// Immutable after Parse; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/conditions.h"
#include "search/rng.h"
#include "search/trial.h"

namespace rung {

enum class ParameterKind { kFloat, kInt, kCategorical, kOrdinal, kConstant };

struct Parameter {
  std::string name;
  ParameterKind kind = ParameterKind::kConstant;
  double low = 0, high = 0;  // kFloat, kInt
  bool log = false;
  std::optional<double> step;
  std::vector<Value> choices;  // kCategorical, kOrdinal; one for kConstant
  Value default_value;
  std::optional<Condition> condition;  // inactive where it does not hold

  // Number of values: choices, the integers of a range, or nullopt for a continuous range.
  std::optional<int64_t> Cardinality() const;
};

class Space {
 public:
  // `json` is the space object (docs/study-file.md, "Space"). Errors: InvalidArgument (E02xx) with where = "space.NAME"
  // JSON pointer; study_spec turns it into file:line:column.
  static absl::StatusOr<Space> Parse(const nlohmann::json& json);
  nlohmann::json ToJson() const;

  // In the order in which conditions can be decided: a parent before its children, then by name.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Parameter* Find(const std::string& name) const;
  // Parameters with at least two values: the model's dimension d.
  int Dimension() const;

  Config Default() const;
  // Uniform over the space (log-uniform where log), sampled around forbidden clauses by rejection (at most kMaxRejections;
  // Parse proves that at least the default is allowed, which is returned if rejection gives up and none was found).
  Config Sample(Rng& rng) const;
  // Every parameter known, active exactly where its condition holds, value in range, no forbidden clause holds.
  absl::Status Validate(const Config& config) const;
  bool Forbidden(const Config& config) const;
  // Sets inactive parameters apart: drops those whose condition fails, draws newly active ones with `rng`.
  Config Completed(Config config, Rng& rng) const;
  // All configs of a finite space, or those of `levels` values per continuous parameter, in a fixed order.
  std::vector<Config> Grid(int levels) const;

  static constexpr int kMaxRejections = 10000;
  static constexpr int kMaxParameters = 512;

 private:
  std::vector<Parameter> parameters_;
  std::vector<Condition> forbidden_;
};

nlohmann::json ToJson(const Config& config);
absl::StatusOr<Config> ConfigFromJson(const nlohmann::json& json);
// Keys sorted, shortest round-trip numbers, no blanks: equal configs give equal text.
std::string CanonicalJson(const Config& config);
std::string Text(const Value& value);

}  // namespace rung
