#include "cli/bundle.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "cli/commands.h"

namespace rung {
namespace {

namespace fs = std::filesystem;

constexpr std::streamoff kTailBytes = 64 << 10;  // of each log
constexpr int64_t kFileLimit = int64_t{16} << 20;
constexpr size_t kShortestSecret = 8;  // bytes; a shorter value may be any word of a log

// Variables whose values tell of the machine, and nobody's secrets.
constexpr const char* kHarmless[] = {
    "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL",   "LD_LIBRARY_PATH",     "NO_COLOR",
    "OMP_NUM_THREADS",      "PATH", "RUNG_DIR", "SLURM_CPUS_PER_TASK", "SLURM_JOB_ID",
    "SLURM_JOB_PARTITION",  "TERM", "TMPDIR",   "XDG_RUNTIME_DIR"};

bool IsHarmless(const std::string& variable) {
  return std::any_of(std::begin(kHarmless), std::end(kHarmless),
                     [&](const char* name) { return variable == name; });
}

// Secret -> what is written in its place.
using Secrets = std::map<std::string, std::string>;

void Hide(const std::string& value, Secrets& secrets) {
  if (value.size() < kShortestSecret) return;
  const std::string quoted = OrderedJson(value).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  secrets[value] = kLeftOut;
  secrets[quoted.substr(1, quoted.size() - 2)] = kLeftOut;  // as a line of JSON has it
}

// In order; what was read until an error.
std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// No link: what it points to is not ours to send.
bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error));
}

OrderedJson Parsed(const std::string& path, const Secrets& secrets) {
  if (!IsFile(path)) return nullptr;
  const absl::StatusOr<std::string> bytes = ReadFile(path, kFileLimit);
  if (!bytes.ok()) return nullptr;
  OrderedJson json = OrderedJson::parse(absl::StrReplaceAll(*bytes, secrets), nullptr, false);
  return json.is_object() ? json : OrderedJson(nullptr);
}

std::string StudyFile(const StateDir& dir, const std::string& id) {
  return dir.root + "/studies/" + id + "/study.json";
}

// The environment that a study gives its trainer; nullptr: none.
OrderedJson* EnvironmentOf(OrderedJson& study) {
  const auto trainer = study.find("trainer");
  if (trainer == study.end()) return nullptr;
  const auto environment = trainer->find("env");
  return environment == trainer->end() || !environment->is_object() ? nullptr : &*environment;
}

// Names of the variables that a study's trainer gets as they are.
std::vector<std::string> PassedOn(const OrderedJson& study) {
  std::vector<std::string> names;
  if (!study.is_object() || !study.contains("trainer") || !study["trainer"].is_object()) return names;
  const OrderedJson passed = study["trainer"].value("pass_env", OrderedJson::array());
  for (const OrderedJson& name : passed) {
    if (name.is_string()) names.push_back(name.get<std::string>());
  }
  return names;
}

// What a message may have quoted: a trainer's of its own environment, say.
Secrets SecretsOf(const StateDir& dir) {
  Secrets secrets;
  for (const std::string& path : {dir.token("admin"), dir.token("worker"), dir.token("viewer"), dir.nonce()})
    Hide(std::string(absl::StripAsciiWhitespace(ReadFile(path, kFileLimit).value_or(""))), secrets);
  for (const std::string& id : NamesIn(dir.root + "/studies")) {
    OrderedJson study = Parsed(StudyFile(dir, id), {});
    for (const std::string& name : PassedOn(study)) {
      const char* value = getenv(name.c_str());
      if (value != nullptr && !IsHarmless(name)) Hide(value, secrets);
    }
    const OrderedJson* environment = EnvironmentOf(study);
    if (environment == nullptr) continue;
    for (const auto& [name, value] : environment->items()) {
      if (!IsHarmless(name) && value.is_string()) Hide(value.get<std::string>(), secrets);
    }
  }
  return secrets;
}

OrderedJson Studies(const StateDir& dir, const Secrets& secrets) {
  OrderedJson studies = OrderedJson::object();
  for (const std::string& id : NamesIn(dir.root + "/studies")) {
    OrderedJson study = Parsed(StudyFile(dir, id), secrets);
    if (OrderedJson* environment = EnvironmentOf(study); environment != nullptr) {
      for (auto entry = environment->begin(); entry != environment->end(); ++entry) {
        if (!IsHarmless(entry.key())) *entry = kLeftOut;
      }
    }
    studies[id] = std::move(study);
  }
  return studies;
}

// The studies' own text is left to Studies().
OrderedJson Status(const StateDir& dir, const Secrets& secrets) {
  OrderedJson status = Parsed(dir.status(), secrets);
  const auto studies = status.find("studies");
  if (studies == status.end()) return status;
  for (OrderedJson& study : *studies) {
    if (study.is_object()) study.erase("canonical_json");
  }
  return status;
}

struct Size {
  int64_t files = 0;
  int64_t bytes = 0;
};

void AddSize(const std::string& path, Size& size) {
  std::error_code error;
  if (fs::is_directory(fs::symlink_status(path, error))) {
    for (const std::string& name : NamesIn(path)) AddSize(path + "/" + name, size);
  } else if (IsFile(path)) {
    const uintmax_t bytes = fs::file_size(path, error);
    if (error) return;  // gone meanwhile
    ++size.files;
    size.bytes += static_cast<int64_t>(bytes);
  }
}

// Of what lies in the directory and one level below it.
OrderedJson Sizes(const StateDir& dir) {
  OrderedJson sizes = OrderedJson::array();
  const auto add = [&](const std::string& name) {
    Size size;
    AddSize(dir.root + "/" + name, size);
    sizes.push_back({{"path", name}, {"files", size.files}, {"size_bytes", size.bytes}});
  };
  for (const std::string& name : NamesIn(dir.root)) {
    std::error_code error;
    if (!fs::is_directory(fs::symlink_status(dir.root + "/" + name, error))) {
      add(name);
      continue;
    }
    for (const std::string& below : NamesIn(dir.root + "/" + name)) add(name + "/" + below);
  }
  return sizes;
}

// The last lines of a file, whole ones.
std::string Tail(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(0, std::ios::end);
  const std::streamoff size = file.tellg();
  if (!file || size <= 0) return "";
  const std::streamoff from = std::max<std::streamoff>(0, size - kTailBytes);
  file.seekg(from);
  std::string text(static_cast<size_t>(size - from), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (from == 0) return text;
  const size_t first_end = text.find('\n');
  return first_end == std::string::npos ? "" : text.substr(first_end + 1);
}

OrderedJson Logs(const StateDir& dir, const Secrets& secrets) {
  OrderedJson logs = OrderedJson::object();
  for (const std::string& name : NamesIn(dir.logs())) {
    const bool ours = absl::StartsWith(name, "rungd.log") || absl::StartsWith(name, "worker-");
    const std::string path = dir.logs() + "/" + name;
    if (!ours || !IsFile(path)) continue;
    const std::string text = absl::StrReplaceAll(Tail(path), secrets);
    const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
    logs[name] = lines;
  }
  return logs;
}

std::string System() {
  utsname names{};
  if (uname(&names) != 0) return "";
  return std::string(names.sysname) + " " + names.release + " " + names.machine;
}

OrderedJson Environment() {
  OrderedJson environment = OrderedJson::object();
  for (const char* name : kHarmless) {
    if (const char* value = std::getenv(name); value != nullptr) environment[name] = value;
  }
  return environment;
}

}  // namespace

OrderedJson BundleJson(const std::optional<StateDir>& dir, const std::vector<Finding>& findings,
                       absl::Time now) {
  OrderedJson json = JsonDocument();
  json["made_at"] = JsonTime(absl::ToUnixMillis(now));
  json["version"] = VersionText();
  json["system"] = System();
  json["environment"] = Environment();
  json["findings"] = FindingsJson(findings)["findings"];
  if (!dir.has_value()) return json;
  const Secrets secrets = SecretsOf(*dir);
  json["state_directory"] = dir->root;
  json["endpoint"] = Parsed(dir->endpoint(), secrets);
  json["status"] = Status(*dir, secrets);
  json["studies"] = Studies(*dir, secrets);
  json["sizes"] = Sizes(*dir);
  json["logs"] = Logs(*dir, secrets);
  return json;
}

}  // namespace rung
