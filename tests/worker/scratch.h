// Attempts as a coordinator would grant them, in a test's own directory.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "proto/rung/v1/rung.pb.h"
#include "tests/scratch.h"

namespace rung {

// An attempt of a `command` study that runs `shell_text` with /bin/sh -c. Objective validation/accuracy,
// budget 0 to 3.
inline v1::Attempt CommandAttempt(const Scratch& scratch, int64_t trial, const std::string& shell_text) {
  const nlohmann::json study = {
      {"trainer", {{"type", "command"}, {"argv", {"/bin/sh", "-c", shell_text}}}},
      {"objective", {{"metric", "validation/accuracy"}, {"goal", "maximize"}, {"report", "last"}}},
      {"budget", {{"unit", "epochs"}, {"min", 1}, {"max", 9}, {"on_promotion", "resume"}}}};
  v1::Attempt attempt;
  attempt.mutable_key()->set_study(1);
  attempt.mutable_key()->set_trial(trial);
  attempt.mutable_key()->set_kind(v1::ATTEMPT_KIND_TRAIN);
  attempt.mutable_key()->set_attempt(1);
  attempt.set_study_name("test");
  attempt.set_study_json(study.dump());
  attempt.set_config_json(R"({"learning_rate":0.5})");
  attempt.set_seed(7);
  attempt.set_fold(-1);
  attempt.set_budget_to(3);
  const std::string name = std::to_string(trial);
  attempt.set_checkpoint_dir(scratch.path("checkpoints/" + name));
  attempt.set_output_dir(scratch.path("outputs/" + name));
  attempt.set_log_path(scratch.path("logs/" + name + ".log"));
  attempt.set_lease_ttl_seconds(60);
  return attempt;
}

// The same for the built-in trainer, whatever program plays it.
inline v1::Attempt BuiltInAttempt(const Scratch& scratch, int64_t trial) {
  v1::Attempt attempt = CommandAttempt(scratch, trial, "");
  nlohmann::json study = nlohmann::json::parse(attempt.study_json());
  study["trainer"] = {{"type", "text_classification"}};
  attempt.set_study_json(study.dump());
  return attempt;
}

inline constexpr char kGoodResult[] =
    R"(echo '{"type": "result", "values": {"validation/accuracy": 0.75}}' >&3)";

}  // namespace rung
