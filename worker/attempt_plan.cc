#include "worker/attempt_plan.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace rung {
namespace {

using Json = nlohmann::json;

absl::Status PlanError(const std::string& problem, const v1::Attempt& attempt) {
  return MakeError(absl::StatusCode::kInvalidArgument,
                   {"E0722", absl::StrFormat("attempt %s cannot be run: %s", KeyText(attempt.key()), problem),
                    attempt.study_name(), "", "Use rungd and rung-worker of the same version"});
}

Json TextOrNull(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json Texts(const google::protobuf::Map<std::string, std::string>& map) {
  Json json = Json::object();
  for (const auto& [key, value] : map) json[key] = value;
  return json;
}

// Seconds, or a duration like "30m": CheckedTrainer let nothing else through.
absl::Duration TimeLimit(const Json& trainer) {
  absl::Duration limit = absl::InfiniteDuration();
  const Json own = trainer.value("time_limit", Json());
  if (own.is_number()) limit = absl::Seconds(own.get<double>());
  if (own.is_string()) absl::ParseDuration(own.get<std::string>(), &limit);
  return limit;
}

std::string TrialJson(const v1::Attempt& attempt, const Json& study, const Json& config,
                      absl::Duration stop_after) {
  const v1::JobKey& key = attempt.key();
  const Json& objective = study["objective"];
  const Json& budget = study["budget"];
  Json json;
  json["protocol"] = 1;
  json["kind"] = key.kind() == v1::ATTEMPT_KIND_EVALUATE ? "evaluate" : "train";
  json["study"] = key.study();
  json["trial"] = key.trial();
  json["rung"] = key.rung();
  json["replicate"] = key.replicate();
  json["attempt"] = key.attempt();
  json["seed"] = attempt.seed();
  json["fold"] = attempt.fold() < 0 ? Json(nullptr) : Json(attempt.fold());
  json["config"] = config;
  json["trainer"] = study["trainer"];
  json["objective"] = {
      {"metric", objective["metric"]}, {"goal", objective["goal"]}, {"report", objective["report"]}};
  json["on_promotion"] = budget["on_promotion"];
  json["budget"] = {{"unit", budget["unit"]},
                    {"from", attempt.budget_from()},
                    {"to", attempt.budget_to()},
                    {"max", budget["max"]}};
  json["checkpoint_dir"] = attempt.checkpoint_dir();
  json["resume_dir"] = TextOrNull(attempt.resume_dir());
  json["inputs"] = Texts(attempt.inputs());
  json["data_sha256"] = Texts(attempt.data_sha256());
  json["output_dir"] = attempt.output_dir();
  json["deadline_seconds"] =
      stop_after == absl::InfiniteDuration() ? Json(nullptr) : Json(absl::ToDoubleSeconds(stop_after));
  return json.dump(2) + "\n";
}

void FillCommand(const Json& trainer, AttemptPlan& plan) {
  plan.argv = trainer.at("argv").get<std::vector<std::string>>();
  if (const auto cwd = trainer.find("cwd"); cwd != trainer.end() && cwd->is_string()) plan.directory = *cwd;
  for (const auto& [name, value] : trainer.value("env", std::map<std::string, std::string>{})) {
    plan.environment.push_back(name + "=" + value);
  }
  plan.pass_env = trainer.value("pass_env", std::vector<std::string>{});
}

}  // namespace

std::string KeyText(const v1::JobKey& key) {
  return absl::StrFormat("%d/%d/%d/%d/%s%d", key.study(), key.trial(), key.rung(), key.replicate(),
                         key.kind() == v1::ATTEMPT_KIND_EVALUATE ? "e" : "", key.attempt());
}

bool SameAttempt(const v1::JobKey& a, const v1::JobKey& b) {
  return a.study() == b.study() && a.trial() == b.trial() && a.rung() == b.rung() &&
         a.replicate() == b.replicate() && a.kind() == b.kind() && a.attempt() == b.attempt();
}

absl::StatusOr<AttemptPlan> PlanAttempt(const v1::Attempt& attempt, absl::Duration stop_after) {
  AttemptPlan plan;
  plan.attempt = attempt;
  try {
    const Json study = Json::parse(attempt.study_json());
    const Json config = Json::parse(attempt.config_json());
    plan.metric = study.at("objective").at("metric").get<std::string>();
    plan.is_command = study.at("trainer").at("type") == "command";
    if (plan.is_command) FillCommand(study.at("trainer"), plan);
    plan.time_limit = TimeLimit(study.at("trainer"));
    plan.trial_json = TrialJson(attempt, study, config, std::min(plan.time_limit, stop_after));
  } catch (const Json::exception& error) {
    return PlanError(error.what(), attempt);
  }
  if (plan.is_command && plan.argv.empty()) return PlanError("trainer.argv is empty", attempt);
  return plan;
}

namespace {

// Another node may see it: a mount that is gone, stale or without a right says nothing about the data.
absl::Status Unreadable(const std::string& path, const std::string& why) {
  return MakeError(absl::StatusCode::kUnavailable,
                   {"E0726", absl::StrFormat("a data file of the study cannot be read here: %s", why), path,
                    path, "Put the file back or mount its directory on this node, then resume the study"});
}

}  // namespace

absl::Status DataCheck::Verify(const v1::Attempt& attempt) {
  for (const auto& [path, sha256] : attempt.data_sha256()) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return Unreadable(path, strerror(errno));
    const Seen now = {path, info.st_size, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
                      static_cast<int64_t>(info.st_ino), ""};
    const auto same = [&now](const Seen& seen) {
      return seen.path == now.path && seen.size == now.size && seen.modified_ns == now.modified_ns &&
             seen.inode == now.inode;
    };
    auto found = std::find_if(seen_.begin(), seen_.end(), same);
    if (found == seen_.end()) {
      const absl::StatusOr<std::string> hash = FileSha256Hex(path);
      if (!hash.ok()) return Unreadable(path, std::string(hash.status().message()));
      std::erase_if(seen_, [&path = path](const Seen& seen) { return seen.path == path; });
      seen_.push_back(now);
      seen_.back().sha256 = *hash;
      found = seen_.end() - 1;
    }
    if (found->sha256 != sha256) {
      return MakeError(absl::StatusCode::kFailedPrecondition,
                       {"E0723", "a file of the study has other bytes than when it was made", path,
                        found->sha256, "Put the old file back and resume the study, or make a new study"});
    }
  }
  return absl::OkStatus();
}

}  // namespace rung
