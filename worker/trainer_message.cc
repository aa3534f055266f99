#include "worker/trainer_message.h"

#include <algorithm>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace rung {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxShownBytes = 200;
constexpr size_t kMaxNameBytes = 128;

absl::Status LineError(const std::string& problem, const std::string& line) {
  const std::string shown = Shortened(line, kMaxShownBytes);
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"E0720", absl::StrFormat("the trainer wrote a line that is not a message: %s: %s", problem, shown),
       "RUNG_METRICS_FD", shown, "Write one JSON object a line as docs/trainer-messages.md says"});
}

// One message being read: the first problem wins, so that callers check once at the end.
class Reader {
 public:
  explicit Reader(const Json& object) : object_(object) {}

  double Number(const std::string& key) {
    const Json* value = Take(key);
    if (value == nullptr) return 0;
    if (!value->is_number()) {
      Fail(key + " must be a number");
      return 0;
    }
    return value->get<double>();
  }

  double Budget(const std::string& key) {
    const double budget = Number(key);
    CheckBudget(key, budget);
    return budget;
  }

  void CheckBudget(const std::string& key, double budget) {
    if (!IsAmount(budget)) Fail(absl::StrFormat("%s must be a number from 0 to %g", key, kMaxAmount));
  }

  int64_t Integer(const std::string& key) {
    const Json* value = Take(key);
    if (value == nullptr) return 0;
    if (!value->is_number_integer() || *value < 0) {
      Fail(key + " must be an integer, 0 or more");
      return 0;
    }
    return value->get<int64_t>();
  }

  std::string Text(const std::string& key) {
    const Json* value = Take(key);
    if (value == nullptr) return "";
    if (!value->is_string()) {
      Fail(key + " must be a string");
      return "";
    }
    return value->get<std::string>();
  }

  std::string RelativePath(const std::string& key) {
    const std::string path = Text(key);
    CheckRelative(key, path);
    return path;
  }

  std::map<std::string, double> Numbers(const std::string& key) {
    std::map<std::string, double> numbers;
    const Json* value = Object(key);
    if (value == nullptr) return numbers;
    for (const auto& [name, number] : value->items()) {
      CheckName(key, name);
      if (number.is_null()) {
        numbers[name] = std::numeric_limits<double>::quiet_NaN();
      } else if (number.is_number()) {
        numbers[name] = number.get<double>();
      } else {
        Fail(absl::StrFormat("%s.%s must be a number or null", key, name));
      }
    }
    return numbers;
  }

  std::map<std::string, std::string> Paths(const std::string& key) {
    std::map<std::string, std::string> paths;
    if (!object_.contains(key)) return paths;
    const Json* value = Object(key);
    if (value == nullptr) return paths;
    for (const auto& [name, path] : value->items()) {
      CheckName(key, name);
      if (!path.is_string()) {
        Fail(absl::StrFormat("%s.%s must be a path", key, name));
        continue;
      }
      paths[name] = path.get<std::string>();
      CheckRelative(key + "." + name, paths[name]);
    }
    return paths;
  }

  void Fail(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }

  // The first problem, or that of a key nobody asked for; empty if there is none.
  std::string Problem() {
    if (!problem_.empty()) return problem_;
    for (const auto& [key, value] : object_.items()) {
      if (taken_.count(key) == 0) return "unknown key " + key;
    }
    return "";
  }

 private:
  const Json* Take(const std::string& key) {
    taken_.insert(key);
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    Fail(key + " is missing");
    return nullptr;
  }

  const Json* Object(const std::string& key) {
    const Json* value = Take(key);
    if (value == nullptr) return nullptr;
    if (value->is_object()) return value;
    Fail(key + " must be an object");
    return nullptr;
  }

  void CheckName(const std::string& key, const std::string& name) {
    if (name.empty() || name.size() > kMaxNameBytes) {
      Fail(absl::StrFormat("a name in %s must have 1 to %d bytes", key, kMaxNameBytes));
    }
    const auto drives_terminals = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
    if (std::any_of(name.begin(), name.end(), drives_terminals))
      Fail("a name in " + key + " has a control character");
  }

  // Inside its directory: a trainer's path is joined to a directory of the study.
  void CheckRelative(const std::string& key, const std::string& path) {
    const bool climbs = path == ".." || path.rfind("../", 0) == 0 || path.find("/../") != std::string::npos ||
                        (path.size() >= 3 && path.compare(path.size() - 3, 3, "/..") == 0);
    if (path.empty() || path.front() == '/' || climbs || path.find('\0') != std::string::npos) {
      Fail(key + " must be a relative path inside its directory");
    }
  }

  const Json& object_;
  std::set<std::string> taken_;
  std::string problem_;
};

FailureCause ReadCause(Reader& reader) {
  const std::string text = reader.Text("cause");
  if (text == "out_of_memory") return FailureCause::kOutOfMemory;
  if (text == "diverged") return FailureCause::kDiverged;
  if (text == "bad_data") return FailureCause::kBadData;
  if (text != "crash") reader.Fail("cause must be out_of_memory, diverged, bad_data or crash");
  return FailureCause::kCrash;
}

TrainerMessage ReadMessage(Reader& reader) {
  const std::string type = reader.Text("type");
  if (type == "metric") {
    MetricMessage message;
    message.step = reader.Integer("step");
    message.budget = reader.Budget("budget");
    message.values = reader.Numbers("values");
    return message;
  }
  if (type == "checkpoint") {
    CheckpointMessage message;
    message.budget = reader.Budget("budget");
    message.path = reader.RelativePath("path");
    return message;
  }
  if (type == "result") {
    ResultMessage message;
    message.values = reader.Numbers("values");
    const auto budget = message.values.find(kBudgetRead);
    if (budget != message.values.end()) reader.CheckBudget(budget->first, budget->second);
    message.outputs = reader.Paths("outputs");
    return message;
  }
  FailedMessage message;
  if (type != "failed") {
    reader.Fail("type must be metric, checkpoint, result or failed");
    return message;
  }
  message.cause = ReadCause(reader);
  message.message = reader.Text("message");
  return message;
}

}  // namespace

absl::StatusOr<TrainerMessage> ParseTrainerMessage(const std::string& line) {
  std::vector<std::set<std::string>> keys(1);  // of the objects around, by depth
  std::string repeated;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    const auto level = static_cast<size_t>(depth);
    if (event == Json::parse_event_t::object_start) {
      keys.resize(std::max(keys.size(), level + 2));
      keys[level + 1].clear();
    }
    if (event == Json::parse_event_t::key && !keys[level].insert(parsed.get<std::string>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  const Json json = Json::parse(line, watch, /*allow_exceptions=*/false);
  if (!repeated.empty()) return LineError("the key " + repeated + " stands twice", line);
  if (json.is_discarded())
    return LineError("it is not JSON (a number that is not finite is written null)", line);
  if (!json.is_object()) return LineError("it is not a JSON object", line);
  Reader reader(json);
  TrainerMessage message = ReadMessage(reader);
  if (const std::string problem = reader.Problem(); !problem.empty()) return LineError(problem, line);
  return message;
}

std::vector<std::string> LineBuffer::Add(const char* bytes, size_t size) {
  std::vector<std::string> lines;
  for (size_t i = 0; i < size && !overlong_; ++i) {
    if (bytes[i] == '\n') {
      if (!partial_.empty()) lines.push_back(std::move(partial_));
      partial_.clear();
      continue;
    }
    partial_ += bytes[i];
    overlong_ = partial_.size() > kMaxTrainerLineBytes;
  }
  return lines;
}

void LineBuffer::Clear() {
  partial_.clear();
  overlong_ = false;
}

}  // namespace rung
