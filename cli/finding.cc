#include "cli/finding.h"

#include <algorithm>

namespace rung {
namespace {

const char* Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarn:
      return "warn";
    case Verdict::kFail:
      return "fail";
  }
  return "";
}

}  // namespace

bool HasFindings(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.verdict != Verdict::kOk; });
}

std::string FindingsText(const std::vector<Finding>& findings, const Terminal& terminal) {
  Table table({"check", "", "what"});
  for (const Finding& finding : findings) {
    table.AddRow({finding.check, Name(finding.verdict), finding.what});
    if (!finding.mend.empty()) table.AddRow({"", "", "-> " + finding.mend});
  }
  return table.Text(terminal);
}

OrderedJson FindingsJson(const std::vector<Finding>& findings) {
  OrderedJson json = JsonDocument();
  json["findings"] = OrderedJson::array();
  for (const Finding& finding : findings) {
    json["findings"].push_back({{"check", finding.check},
                                {"verdict", Name(finding.verdict)},
                                {"what", finding.what},
                                {"mend", finding.mend}});
  }
  return json;
}

}  // namespace rung
