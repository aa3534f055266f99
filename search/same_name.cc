#include "search/same_name.h"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

constexpr size_t kMaxDifferences = 5;

std::string Differences(const std::string& stored, const std::string& wanted) {
  const nlohmann::json before = nlohmann::json::parse(stored, nullptr, /*allow_exceptions=*/false).flatten();
  const nlohmann::json after = nlohmann::json::parse(wanted, nullptr, /*allow_exceptions=*/false).flatten();
  std::vector<std::string> lines;
  for (const auto& [key, value] : before.items()) {
    if (!after.contains(key)) {
      lines.push_back(absl::StrFormat("%s: %s -> none", key, value.dump()));
    } else if (after[key] != value) {
      lines.push_back(absl::StrFormat("%s: %s -> %s", key, value.dump(), after[key].dump()));
    }
  }
  for (const auto& [key, value] : after.items()) {
    if (!before.contains(key)) lines.push_back(absl::StrFormat("%s: none -> %s", key, value.dump()));
  }
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), kMaxDifferences); ++i)
    text += (i == 0 ? "" : "; ") + lines[i];
  if (lines.size() > kMaxDifferences)
    text += absl::StrFormat("; and %d more", lines.size() - kMaxDifferences);
  return text;
}

}  // namespace

absl::Status NameTaken(const std::string& name, const std::string& where, const std::string& stored_json,
                       const std::string& wanted_json) {
  const bool same = stored_json == wanted_json;
  return MakeError(absl::StatusCode::kAlreadyExists,
                   {"E0623",
                    same ? absl::StrFormat("there is a study %s already", name)
                         : absl::StrFormat("there is another study %s already: %s", name,
                                           Differences(stored_json, wanted_json)),
                    where, name,
                    same ? "Go on with it: rung run STUDY.json; for a new one give the file another "
                           "\"name\", or name another state directory with --dir"
                         : "Give the file another \"name\", name another state directory with --dir, or undo "
                           "the changes to go on with the stored study"});
}

}  // namespace rung
