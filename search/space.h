// A search space: parameters, the conditions that make them active, forbidden clauses, a default config.
// Immutable after Parse; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>
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
  // What a person believes before the search; random picks follow it. At most one of them.
  std::optional<std::pair<double, double>> normal_prior;     // mean, sd of the value (of its ln where log)
  std::optional<std::pair<double, double>> lognormal_prior;  // mean, sd of ln(value), where not log
  std::optional<std::pair<double, double>> beta_prior;       // alpha, beta of the place on [0, 1]
  std::vector<double> weights;                               // of choices; empty: equal
  std::optional<Condition> condition;                        // inactive where it does not hold

  // `json` is what stands behind `name` in a space; conditions are parsed, not yet resolved. Errors:
  // InvalidArgument (E02xx) with where = "#/NAME/key".
  static absl::StatusOr<Parameter> Parse(const std::string& name, const nlohmann::json& json);
  nlohmann::json ToJson() const;

  // Number of values: choices, the steps of a range, or nullopt for a continuous range.
  std::optional<int64_t> Cardinality() const;

  // Between values and [0, 1]: linear, or linear in the logarithm; a discrete value of place i of k at (i +
  // 0.5) / k (log integers: the middle of their share of the logarithmic range). For ranges, ordinals and
  // categoricals.
  double ToUnit(const Value& value) const;
  Value FromUnit(double unit) const;
  // Place of a value among the choices (numbers compare by value), or nullopt.
  std::optional<size_t> ChoiceIndex(const Value& value) const;
  // A value of its type, in its range, on its grid.
  bool Contains(const Value& value) const;
  // The same number in the parameter's own type (3 for a float becomes 3.0); other values as they are.
  Value Typed(Value value) const;
  // By its prior, else uniform (log-uniform where log).
  Value Draw(Rng& rng) const;
  // What to write instead of a value that it does not contain: "Use a number from 0 to 1".
  std::string AllowedText() const;
};

class Space {
 public:
  // `json` is the space object (docs/study-file.md, "Space") or one of ConfigSpace's (configspace.h). Errors:
  // InvalidArgument (E02xx) with where =
  // "#/NAME/key", a JSON pointer into the space that Located (json_position.h) turns into file:line:column.
  static absl::StatusOr<Space> Parse(const nlohmann::json& json);
  nlohmann::json ToJson() const;

  // In the order in which conditions can be decided: a parent before its children, then by name.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<Condition>& forbidden() const { return forbidden_; }
  const Parameter* Find(const std::string& name) const;
  // Parameters with at least two values: the model's dimension d.
  int Dimension() const;

  Config Default() const;
  // Every parameter by its prior or uniform, sampled around forbidden clauses by rejection: Parse refuses a
  // space of which less than kMinLegalShare is allowed, so that kMaxRejections in a row do not happen.
  Config Sample(Rng& rng) const;
  // Every parameter known, active exactly where its condition holds, value in range, no forbidden clause
  // holds.
  absl::Status Validate(const Config& config) const;
  bool Forbidden(const Config& config) const;
  // Active where its condition holds.
  bool Active(const Parameter& parameter, const Config& config) const;
  // The same config with numbers of the parameters' own types (3 for a float becomes 3.0).
  Config Typed(Config config) const;
  // Sets inactive parameters apart: drops those whose condition fails, draws newly active ones with `rng`.
  Config Completed(Config config, Rng& rng) const;
  // All configs of a finite space, or those of `levels` values per continuous parameter, in a fixed order;
  // without forbidden ones. Stops at `limit` configs.
  std::vector<Config> Grid(int levels, size_t limit = kMaxGrid) const;
  // True if every parameter has finitely many values.
  bool Finite() const;

  static constexpr double kMinLegalShare = 1e-3;
  static constexpr int kMaxRejections = 100000;
  static constexpr int kMaxParameters = 512;
  static constexpr size_t kMaxGrid = 100000;

 private:
  std::vector<Parameter> parameters_;
  std::vector<Condition> forbidden_;
  friend class SpaceParser;
};

nlohmann::json ToJson(const Value& value);
nlohmann::json ToJson(const Config& config);
// Errors: InvalidArgument (E0230) for anything but an object of strings, numbers and booleans.
absl::StatusOr<Config> ConfigFromJson(const nlohmann::json& json);
// Keys sorted, shortest round-trip numbers, no blanks: equal configs give equal text.
std::string CanonicalJson(const Config& config);
std::string Text(const Value& value);

}  // namespace rung
