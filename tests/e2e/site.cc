#include "tests/e2e/site.h"

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "base/check.h"
#include "base/file.h"

namespace rung {
namespace {

constexpr double kAskSeconds = 20;

std::string Program(const std::string& name) {
  return std::string(RUNG_BIN_DIR) + "/" + name;
}

nlohmann::json CommandStudy(const std::string& root, double step_seconds) {
  return {{"name", "e2e"},
          {"trainer",
           {{"type", "command"},
            {"argv", {"python3", std::string(RUNG_SOURCE_DIR) + "/tests/e2e/trainer.py"}},
            {"env",
             {{"E2E_TRACE", root + "/trace"},
              {"E2E_STEP_SECONDS", std::to_string(step_seconds)},
              {"E2E_OOM_FILE", root + "/take-memory"},
              {"E2E_FREEZE_FILE", root + "/freeze"},
              {"PYTHONDONTWRITEBYTECODE", "1"}}}}},
          {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}}},
          {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 9}, {"eta", 3}}},
          {"algorithm", {{"type", "hyperband"}}},
          {"space", {{"x", {{"low", 0.0}, {"high", 1.0}}}}},
          {"stop", {{"brackets", 1}}},
          {"seed", 7}};
}

}  // namespace

Site::Site(const std::function<nlohmann::json(const std::string& root)>& study) {
  std::string pattern = "/tmp/rung-e2e-XXXXXX";
  RUNG_CHECK(mkdtemp(pattern.data()) != nullptr, "/tmp is writable");
  root_ = pattern;
  RUNG_CHECK(WriteFileAtomic(root_ + "/study.json", study(root_).dump(2)).ok(), "the study file is written");
}

Site::Site(double step_seconds, const nlohmann::json& changes)
    : Site([&](const std::string& root) {
        nlohmann::json study = CommandStudy(root, step_seconds);
        study.merge_patch(changes);
        return study;
      }) {}

Site::~Site() {
  std::filesystem::remove_all(root_);
}

std::unique_ptr<Process> Site::Run(int workers, const std::vector<std::string>& cgroups) const {
  Process::Options options;
  options.argv = {Program("rung"), "run", "study.json", "--workers", std::to_string(workers)};
  options.directory = root_;
  options.output_path = root_ + "/output";
  options.cgroups = cgroups;
  return std::make_unique<Process>(options);
}

nlohmann::json Site::Ask(const std::vector<std::string>& arguments) const {
  std::vector<std::string> argv = {Program("rung")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"-o", "json"});
  const Finished finished = RunProgram(argv, root_, kAskSeconds);
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  return nlohmann::json::parse(finished.out);
}

std::string Site::Output() const {
  return ReadFile(root_ + "/output").value_or("");
}

std::vector<TraceLine> Site::Trace() const {
  std::vector<TraceLine> lines;
  std::ifstream file(root_ + "/trace");
  std::string text;
  while (std::getline(file, text)) {
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded() || json["kind"] != "train") continue;
    lines.push_back({json["event"], json["trial"], json["rung"], json["attempt"], json["step"], json["pid"],
                     json["parent"]});
  }
  return lines;
}

nlohmann::json Site::Results() const {
  nlohmann::json results;
  const nlohmann::json listed = Ask({"trial", "list"});
  for (const nlohmann::json& trial : listed.at("trials")) {
    nlohmann::json row = {
        {"state", trial["state"]}, {"config", trial["config"]}, {"rungs", nlohmann::json::array()}};
    for (const nlohmann::json& rung : trial["rungs"]) {
      for (const nlohmann::json& replicate : rung["replicates"]) {
        nlohmann::json values = nlohmann::json::object();
        for (const auto& [name, value] : replicate["values"].items()) {
          if (name.find("seconds") == std::string::npos) values[name] = value;
        }
        row["rungs"].push_back({rung["rung"], rung["score"], replicate["replicate"], values});
      }
    }
    results[std::to_string(trial["trial"].get<int64_t>())] = row;
  }
  return results;
}

}  // namespace rung
