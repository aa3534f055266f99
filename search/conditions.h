// Conditions over parameters: "optimizer_name in (Adam, AdamW) and not lr > 1e-3". Grammar in docs/study-file.md.
// Immutable after parsing; thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "search/trial.h"

namespace rung {

class Condition {
 public:
  // Comparisons = != < <= > >= in (...), and or not, parentheses; quotes only where a value has blanks. Literals are
  // resolved against the named parameter's type by Space. Errors: InvalidArgument (E0220) naming the column.
  // Depth <= 32.
  static absl::StatusOr<Condition> Parse(const std::string& text);

  // True if it holds; a comparison on an absent (inactive) parameter is false, and so is its `not`: an inactive
  // parameter switches off what depends on it.
  bool Holds(const Config& config) const;

  const std::set<std::string>& parameters() const { return parameters_; }
  const std::string& text() const { return text_; }

  struct Node;

 private:
  std::string text_;
  std::set<std::string> parameters_;
  std::shared_ptr<const Node> root_;  // owners: this condition and its copies
  friend class Space;
};

}  // namespace rung
