// What the doctors found, as a table or as JSON. Pure functions; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/views.h"

namespace rung {

enum class Verdict { kOk, kWarn, kFail };

struct Finding {
  std::string check;
  Verdict verdict = Verdict::kOk;
  std::string what;
  std::string mend;  // empty where ok
};

// Something is not ok: the doctor ends with 9.
bool HasFindings(const std::vector<Finding>& findings);
// A line each, its mend below it.
std::string FindingsText(const std::vector<Finding>& findings, const Terminal& terminal);
// {"schema", "findings": [{"check", "verdict": ok | warn | fail, "what", "mend"}]}
OrderedJson FindingsJson(const std::vector<Finding>& findings);

}  // namespace rung
